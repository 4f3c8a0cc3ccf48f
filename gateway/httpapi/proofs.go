package httpapi

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"holdmetrics/gateway/query"
	"holdmetrics/ingest/proof"
)

// ProofBody is the answer of GET /audit/proof. Bytes are base64.
type ProofBody struct {
	Position      uint64     `json:"position" example:"42"`
	Time          *time.Time `json:"time,omitempty" doc:"The log's time of the message"`
	Partition     int        `json:"partition"`
	JSON          bool       `json:"json" doc:"The message is JSON, by the word of its producer"`
	Lost          bool       `json:"lost,omitempty" doc:"An operator accepted the message as lost before it was hashed"`
	MessageSHA256 string     `json:"message_sha256,omitempty" doc:"SHA-256 of the bytes of the message, hexadecimal"`
	Leaf          []byte     `json:"leaf" doc:"What is hashed: a byte 1, position and time in nanoseconds (8 bytes each), partition (4), flags (1: JSON, 2: lost), SHA-256 of the message; numbers are big-endian"`
	Path          [][]byte   `json:"path" doc:"Hashes that lead from the leaf to the root: RFC 6962, section 2.1.1"`
	Size          uint64     `json:"size" doc:"Positions that the checkpoint covers"`
	Root          []byte     `json:"root"`
	Checkpoint    string     `json:"checkpoint,omitempty" doc:"Signed note; absent for an earlier size, whose note the caller has"`
	PublicKey     string     `json:"public_key" doc:"Verifies the note. Trust one that you were given, not this one"`
	Message       []byte     `json:"message,omitempty" doc:"With message=true: the bytes of the message, which may be a frame of many events"`
}

// ConsistencyBody is the answer of GET /audit/consistency. Bytes are base64.
type ConsistencyBody struct {
	From       uint64   `json:"from" doc:"Positions of the earlier checkpoint"`
	FromRoot   []byte   `json:"from_root"`
	To         uint64   `json:"to" doc:"Positions of the later checkpoint"`
	ToRoot     []byte   `json:"to_root"`
	Path       [][]byte `json:"path" doc:"RFC 6962, section 2.1.2"`
	Checkpoint string   `json:"checkpoint,omitempty" doc:"The later one as a signed note; absent for an earlier size"`
	PublicKey  string   `json:"public_key"`
}

type textOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type proofInput struct {
	Position uint64 `query:"position" required:"true" doc:"Of the log" example:"42"`
	Size     uint64 `query:"size" doc:"Prove with the checkpoint of this many positions; absent: the latest"`
	Message  bool   `query:"message" doc:"With the bytes of the message"`
}

type consistencyInput struct {
	From uint64 `query:"from" required:"true" doc:"Positions of the earlier checkpoint"`
	To   uint64 `query:"to" doc:"Positions of the later checkpoint; absent: the latest"`
}

type proofOutput struct{ Body ProofBody }

type consistencyOutput struct{ Body ConsistencyBody }

// proofErrors are the statuses of errors of proofs.
var proofErrors = []int{http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusNotImplemented, http.StatusServiceUnavailable}

func (s *Server) addProofs(api huma.API) {
	text := func(description string) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: description, Content: map[string]*huma.MediaType{
			"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}},
		}}}
	}
	huma.Register(api, huma.Operation{
		OperationID: "checkpoint",
		Method:      http.MethodGet,
		Path:        "/audit/checkpoint",
		Summary:     "The latest signed checkpoint of the log",
		Description: "A note of three lines, as transparency logs publish it: the log, its number of positions, and the root of the Merkle tree over them; then the signatures.",
		Responses:   text("The note"),
		Errors:      proofErrors,
	}, func(ctx context.Context, _ *struct{}) (*textOutput, error) {
		_, note, err := s.cfg.Reads.Proofs().Checkpoint()
		if err != nil {
			return nil, s.fail(ctx, err, "query")
		}
		return &textOutput{ContentType: "text/plain; charset=utf-8", Body: []byte(note)}, nil
	})
	huma.Register(api, huma.Operation{
		OperationID: "audit-key",
		Method:      http.MethodGet,
		Path:        "/audit/key",
		Summary:     "The public key of the checkpoints",
		Description: "Trust the key that you were given by another way, and compare.",
		Responses:   text("The key"),
		Errors:      proofErrors,
	}, func(ctx context.Context, _ *struct{}) (*textOutput, error) {
		key := s.cfg.Reads.Proofs().PublicKey()
		if key == "" {
			return nil, s.fail(ctx, query.ErrNoProofs, "query")
		}
		return &textOutput{ContentType: "text/plain; charset=utf-8", Body: []byte(key + "\n")}, nil
	})
	huma.Register(api, huma.Operation{
		OperationID: "proof",
		Method:      http.MethodGet,
		Path:        "/audit/proof",
		Summary:     "The proof that a message is in the log",
		Errors:      proofErrors,
	}, s.getProof)
	huma.Register(api, huma.Operation{
		OperationID: "consistency",
		Method:      http.MethodGet,
		Path:        "/audit/consistency",
		Summary:     "The proof that the log was only appended to between two checkpoints",
		Errors:      proofErrors,
	}, s.getConsistency)
}

func (s *Server) getProof(ctx context.Context, in *proofInput) (*proofOutput, error) {
	p, err := s.cfg.Reads.Proofs().Prove(ctx, in.Position, in.Size)
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	body := ProofBody{
		Position: p.Leaf.Position, Partition: p.Leaf.Partition, JSON: p.Leaf.JSON, Lost: p.Leaf.Lost,
		Leaf: p.Leaf.Append(nil), Path: pathOf(p.Path),
		Size: p.Checkpoint.Size, Root: p.Checkpoint.Root[:], Checkpoint: p.Note, PublicKey: s.cfg.Reads.Proofs().PublicKey(),
	}
	if !p.Leaf.Lost {
		body.Time, body.MessageSHA256 = timeOrNone(p.Leaf.Time), hex.EncodeToString(p.Leaf.Sum[:])
	}
	if in.Message && p.Message != nil {
		body.Message = p.Message.Data
	}
	return &proofOutput{body}, nil
}

func (s *Server) getConsistency(ctx context.Context, in *consistencyInput) (*consistencyOutput, error) {
	c, err := s.cfg.Reads.Proofs().Compare(ctx, in.From, in.To)
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	return &consistencyOutput{ConsistencyBody{
		From: c.From.Size, FromRoot: c.From.Root[:], To: c.To.Size, ToRoot: c.To.Root[:], Path: pathOf(c.Path),
		Checkpoint: c.Note, PublicKey: s.cfg.Reads.Proofs().PublicKey(),
	}}, nil
}

func pathOf(path []proof.Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}
