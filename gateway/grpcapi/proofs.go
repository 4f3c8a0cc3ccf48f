package grpcapi

import (
	"context"

	"holdmetrics/ingest/proof"
	holdpb "holdmetrics/proto"
)

// GetCheckpoint sends the latest signed checkpoint of the log.
func (s *queryServer) GetCheckpoint(context.Context, *holdpb.Empty) (*holdpb.Checkpoint, error) {
	c, note, err := s.s.cfg.Reads.Proofs().Checkpoint()
	if err != nil {
		return nil, statusError(err)
	}
	return s.s.checkpoint(&c, note), nil
}

// Prove sends the proof that a message is in the log.
func (s *queryServer) Prove(ctx context.Context, req *holdpb.ProofRequest) (*holdpb.ProofAnswer, error) {
	p, err := s.s.cfg.Reads.Proofs().Prove(ctx, req.GetPosition(), req.GetSize())
	if err != nil {
		return nil, statusError(err)
	}
	answer := &holdpb.ProofAnswer{
		Position: p.Leaf.Position, Partition: uint32(p.Leaf.Partition), Json: p.Leaf.JSON, Lost: p.Leaf.Lost,
		Leaf: p.Leaf.Append(nil), Path: pathOf(p.Path), Checkpoint: s.s.checkpoint(&p.Checkpoint, p.Note),
	}
	if !p.Leaf.Lost {
		answer.Time, answer.MessageSha256 = timestampOf(p.Leaf.Time), p.Leaf.Sum[:]
	}
	if req.GetMessage() && p.Message != nil {
		answer.Message = p.Message.Data
	}
	return answer, nil
}

// Compare sends the proof that a log was only appended to between two checkpoints.
func (s *queryServer) Compare(ctx context.Context, req *holdpb.ConsistencyRequest) (*holdpb.ConsistencyAnswer, error) {
	c, err := s.s.cfg.Reads.Proofs().Compare(ctx, req.GetFrom(), req.GetTo())
	if err != nil {
		return nil, statusError(err)
	}
	return &holdpb.ConsistencyAnswer{From: s.s.checkpoint(&c.From, ""), To: s.s.checkpoint(&c.To, c.Note), Path: pathOf(c.Path)}, nil
}

func (s *Server) checkpoint(c *proof.Checkpoint, note string) *holdpb.Checkpoint {
	return &holdpb.Checkpoint{Note: note, LogId: c.LogID, Size: c.Size, Root: c.Root[:], PublicKey: s.cfg.Reads.Proofs().PublicKey()}
}

func pathOf(path []proof.Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}
