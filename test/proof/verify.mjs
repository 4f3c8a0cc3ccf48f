// An independent check of what holdmetrics proves. It shares no code with the server, and
// needs Node.js 18 and nothing else.
//
//	node verify.mjs KEY proof.json [HOLDER]             GET /audit/proof, message=true with HOLDER
//	node verify.mjs KEY consistency.json EARLIER-NOTE   GET /audit/consistency
import {createHash, createPublicKey, verify} from 'node:crypto';
import {readFileSync} from 'node:fs';

const sha = (...parts) => {
  const h = createHash('sha256');
  for (const p of parts) h.update(p);
  return h.digest();
};
const bytes = text => Buffer.from(text, 'base64');
const node = (left, right) => sha(Uint8Array.of(1), left, right);

// openNote checks the signature of a checkpoint, and reads its three lines.
function openNote(note, vkey) {
  const [name, hash, ...rest] = vkey.trim().split('+');
  const key = bytes(rest.join('+'));
  if (key.length !== 33 || key[0] !== 1) throw new Error('the key is not one of Ed25519');
  if (sha(name + '\n', key).subarray(0, 4).toString('hex') !== hash) throw new Error('the key does not fit its own hash');
  const end = note.indexOf('\n\n');
  const text = note.slice(0, end + 1);
  const mine = note.slice(end + 2).split('\n').filter(line => line.startsWith(`\u2014 ${name} `))
    .map(line => bytes(line.slice(`\u2014 ${name} `.length))).filter(s => s.subarray(0, 4).toString('hex') === hash);
  const publicKey = createPublicKey({format: 'jwk', key: {kty: 'OKP', crv: 'Ed25519', x: key.subarray(1).toString('base64url')}});
  if (!mine.some(s => verify(null, Buffer.from(text), publicKey, s.subarray(4)))) throw new Error('the note has no signature of the key');
  const [origin, size, root] = text.split('\n');
  return {log: origin, size: BigInt(size), root: bytes(root)};
}

// rootOf follows a path from a leaf to the root: RFC 9162, section 2.1.3.2.
function rootOf(leafHash, index, size, path) {
  let fn = index, sn = size - 1n, r = leafHash;
  for (const p of path) {
    if (sn === 0n) throw new Error('the path is too long');
    if (fn & 1n || fn === sn) {
      r = node(p, r);
      while (!(fn & 1n) && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      r = node(r, p);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n) throw new Error('the path is too short');
  return r;
}

// A varint of protobuf: its value, and where the next byte is.
function varint(b, at) {
  let value = 0n;
  for (let shift = 0n; at < b.length && shift < 64n; shift += 7n) {
    const byte = b[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [Number(value), at];
  }
  throw new Error('the message is damaged');
}

// holderOf reads field 2 of a HoldMsg of protobuf, or holder_id of one in JSON.
function holderOf(event) {
  if (event[0] === 0x7b) { // {
    const e = JSON.parse(event.toString('utf8'));
    return e.holder_id ?? e.holderId;
  }
  let holder = '', at = 0, tag, n;
  while (at < event.length) {
    [tag, at] = varint(event, at);
    switch (tag & 7) {
      case 0: [, at] = varint(event, at); break;
      case 1: at += 8; break;
      case 5: at += 4; break;
      case 2:
        [n, at] = varint(event, at);
        if (at + n > event.length) throw new Error('the message is damaged');
        if (tag >> 3 === 2) holder = event.toString('utf8', at, at + n);
        at += n;
        break;
      default: throw new Error('the message is damaged');
    }
  }
  return holder;
}

// holdersOf gives the holders of a message: of a lone event, or of a frame, which is
// 0x00 'H' 0x01 and then for each event its length and its bytes.
function* holdersOf(message) {
  if (message[0] !== 0 || message[1] !== 0x48) {
    yield holderOf(message);
    return;
  }
  if (message[2] !== 1) throw new Error('the message is a frame of another version');
  for (let at = 3, n; at < message.length; at += n) {
    [n, at] = varint(message, at);
    if (n === 0 || at + n > message.length) throw new Error('the message is damaged');
    yield holderOf(message.subarray(at, at + n));
  }
}

function names(message, holder) {
  for (const h of holdersOf(message)) if (h === holder) return true;
  return false;
}

function checkProof(key, proof, holder) {
  const at = openNote(proof.checkpoint, key);
  const leaf = bytes(proof.leaf);
  const position = leaf.readBigUInt64BE(1);
  if (leaf.length !== 54 || leaf[0] !== 1 || position !== BigInt(proof.position)) throw new Error('the leaf is of another position');
  const root = rootOf(sha(Uint8Array.of(0), leaf), position - 1n, at.size, proof.path.map(bytes));
  if (!root.equals(at.root)) throw new Error('the path leads to another root');
  if (proof.message !== undefined && !sha(bytes(proof.message)).equals(leaf.subarray(22))) throw new Error('the message is another one');
  if (holder !== undefined && !(proof.message !== undefined && names(bytes(proof.message), holder))) throw new Error('the message does not name the holder');
  console.log(`proved: position ${position} of ${at.log} at ${leaf.readBigInt64BE(9)} ns`);
}

// checkConsistency is RFC 9162, section 2.1.4.2.
function checkConsistency(key, proof, earlierNote) {
  const first = openNote(earlierNote, key), second = openNote(proof.checkpoint, key);
  if (first.log !== second.log || first.size > second.size) throw new Error('the checkpoints are not of one log, or the later one is smaller');
  let path = proof.path.map(bytes);
  if (first.size === second.size) {
    if (path.length || !first.root.equals(second.root)) throw new Error('the log was rewritten');
  } else {
    if ((first.size & (first.size - 1n)) === 0n) path = [first.root, ...path];
    let fn = first.size - 1n, sn = second.size - 1n;
    while (fn & 1n) {
      fn >>= 1n;
      sn >>= 1n;
    }
    let fr = path[0], sr = path[0];
    for (const c of path.slice(1)) {
      if (sn === 0n) throw new Error('the path is too long');
      if (fn & 1n || fn === sn) {
        fr = node(c, fr);
        sr = node(c, sr);
        while (!(fn & 1n) && fn !== 0n) {
          fn >>= 1n;
          sn >>= 1n;
        }
      } else {
        sr = node(sr, c);
      }
      fn >>= 1n;
      sn >>= 1n;
    }
    if (sn !== 0n || !fr.equals(first.root) || !sr.equals(second.root)) throw new Error('the log was rewritten');
  }
  console.log(`consistent: ${first.size} to ${second.size} positions of ${second.log}`);
}

const [key, file, third] = process.argv.slice(2);
const text = name => readFileSync(name, 'utf8');
try {
  const proof = JSON.parse(text(file));
  if (proof.leaf === undefined) checkConsistency(text(key), proof, text(third));
  else checkProof(text(key), proof, third);
} catch (err) {
  console.error(`not proved: ${err.message}`);
  process.exit(1);
}
