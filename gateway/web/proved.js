// Proved: that the last event of a holder is in the log, by a signed checkpoint. The path
// from its leaf to the root is computed here, too, where the browser lets a page hash.
import {el} from './dom.js';
import {group} from './decimal.js';
import {read, savesWithKey, status} from './server.js';
import {fact} from './parts.js';

const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const sha = async (...parts) => new Uint8Array(await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer()));
const node = (left, right) => sha(Uint8Array.of(1), left, right);

// follows reports whether the path leads from the leaf to the root: RFC 9162, section 2.1.3.2.
async function follows(proof) {
  let fn = BigInt(proof.position) - 1n, sn = BigInt(proof.size) - 1n, r = await sha(Uint8Array.of(0), bytes(proof.leaf));
  for (const p of (proof.path ?? []).map(bytes)) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      r = await node(p, r);
      while (!(fn & 1n) && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      r = await node(r, p);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  const [, size, root] = proof.checkpoint.split('\n');
  return sn === 0n && size === String(proof.size) && btoa(String.fromCharCode(...r)) === root;
}

export class Proved {
  constructor() {
    this.value = el('span');
    this.node = fact('Proved', this.value);
    this.node.id = 'proved';
    this.node.hidden = true;
  }

  // look asks for the proof of a position, unless it is shown already.
  async look(position, signal) {
    if (!position || this.position === position || this.asking) return;
    this.asking = true;
    try {
      const {checkpoint} = await status(signal);
      if (checkpoint === undefined) return; // the server signs none
      this.node.hidden = false;
      if (checkpoint < position) {
        this.value.replaceChildren(el('small', {}, 'not yet'));
        setTimeout(() => signal.aborted || this.look(position, signal), 1500);
        return;
      }
      const proof = await read('audit/proof', {position}, signal);
      const hashed = globalThis.crypto?.subtle !== undefined;
      if (hashed && !await follows(proof)) {
        this.value.replaceChildren(el('span', {class: 'failed'}, 'The proof does not lead to the root of the checkpoint.'));
        return;
      }
      this.position = position;
      this.show(proof, hashed);
    } catch (err) {
      if (!signal.aborted && err.status !== 0) this.value.replaceChildren(el('small', {}, `not proved: ${err.message}`));
    } finally {
      this.asking = false;
    }
  }

  show(proof, hashed) {
    const link = el('a', {href: 'audit/proof?' + new URLSearchParams({position: proof.position, message: true}), download: ''}, 'proof.json');
    savesWithKey(link, () => 'proof.json');
    this.value.replaceChildren(`position ${group(String(proof.position))}`, el('small', {}, ` in the checkpoint of ${group(String(proof.size))}`),
      el('details', {}, el('summary', {}, 'How to check'),
        el('p', {}, 'This is the last event of the holder in the log. ', hashed ? 'Your browser has followed its proof to the root of the signed checkpoint. ' : '',
          'To check all of it yourself, save ', link, ', and with the public key of the operator run'),
        el('pre', {}, 'holdmetrics audit check proof.json --public-key signing.pub')));
  }
}
