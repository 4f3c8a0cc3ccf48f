// Package grpcapi serves the gRPC API: events, reads, watches and status.
package grpcapi

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/intake"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold"
	"holdmetrics/internal/reqid"
	"holdmetrics/internal/tracing"
	holdpb "holdmetrics/proto"
)

const (
	// MaxMessageBytes is the largest message that the gRPC API accepts, unless [Config]
	// says less. An event
	// whose fields are all as long as they may be takes 900 bytes, so a HoldBatch of
	// MaxBatchEvents of them fits.
	MaxMessageBytes = 64 << 20

	// maxStreams is how many calls of one connection may be open at once. A client
	// of HTTP/2 keeps more to itself until some have ended, so one that calls
	// without waiting for answers slows down while the log does.
	maxStreams = 16 << 10

	// A client that vanished is noticed after idlePing + pingTimeout,
	// so that nothing is held for it for ever.
	idlePing    = time.Minute
	pingTimeout = 20 * time.Second
	// idleConnection is how long a connection may have no call. Clients connect again by
	// themselves.
	idleConnection = 15 * time.Minute
	// clientPing is how often a client may ping, with or without a stream.
	clientPing = 10 * time.Second
	// handshake is how long a new connection may take to begin to speak HTTP/2.
	handshake = 10 * time.Second
	// maxHeaderBytes is how large the headers of a call may be. gRPC's own limit is 16 MiB.
	maxHeaderBytes = 64 << 10
)

// Config is what a gRPC server is made of. Every field up to RequestIDs is required.
type Config struct {
	Reads      *query.Service
	Watches    *watch.Hub
	Intake     *intake.Intake
	Status     func(ctx context.Context) (*query.Status, error)
	StreamWait time.Duration // longest wait of a stream for the next answer of the log
	SendStall  time.Duration // longest wait for the client of a stream to take what it is sent
	Observer   Observer
	Logger     *zap.Logger
	RequestIDs *reqid.Source

	Tracer *tracing.Tracer // nil: calls are not traced

	MessageBytes int                 // largest message that is accepted; 0: MaxMessageBytes
	Auth         *auth.Authenticator // names the callers; nil: everybody may do everything
}

// Observer counts what goes on. api is grpc.
type Observer interface {
	watch.Observer
	Request(api, method, code string)
	// Took counts how long a request took that was answered, and is no stream. ctx is that of the request.
	Took(ctx context.Context, api, method string, took time.Duration)
	// StreamOpened counts a stream as open until closed is called.
	StreamOpened(method string) (closed func())
}

// Server answers the gRPC API. It is safe for concurrent use.
type Server struct {
	cfg    Config
	unary  map[string]bool // full names of the methods that do not stream
	stalls stalls
	// receivers are the goroutines that read from Broadcast streams. Such a
	// goroutine ends just after its stream, not before, because what unblocks a
	// Recv is the end of the stream.
	receivers sync.WaitGroup
	// What watchers share.
	messages watch.Messages
}

// New returns a server for the gRPC services; register them with Register.
func New(cfg Config) *Server {
	if cfg.MessageBytes <= 0 {
		cfg.MessageBytes = MaxMessageBytes
	}
	s := &Server{cfg: cfg, unary: map[string]bool{}}
	s.stalls.most = cfg.SendStall
	for _, service := range []*grpc.ServiceDesc{&holdpb.HoldMetrics_ServiceDesc, &holdpb.HoldMetricsQuery_ServiceDesc, &healthpb.Health_ServiceDesc} {
		for _, m := range service.Methods {
			s.unary["/"+service.ServiceName+"/"+m.MethodName] = true
		}
	}
	return s
}

// Wait waits for the last goroutines of streams that have ended.
func (s *Server) Wait() {
	s.receivers.Wait()
	s.stalls.running.Wait()
}

// Options are what the server of gRPC must be made with: the codec, limits,
// keepalive and metrics.
func (s *Server) Options() []grpc.ServerOption {
	tap, unary, stream := s.tap, []grpc.UnaryServerInterceptor{s.identifyUnary, s.observeUnary}, []grpc.StreamServerInterceptor{s.identifyStream, s.observeStream}
	if s.cfg.Auth != nil {
		tap, unary, stream = s.authorizedTap, append(unary, s.authorizeUnary), append(stream, s.authorizeStream)
	}
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.InTapHandle(tap),
		grpc.MaxRecvMsgSize(s.cfg.MessageBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: idlePing, Timeout: pingTimeout, MaxConnectionIdle: idleConnection}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPing, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(append(unary, s.tellLostUnary)...),
		grpc.ChainStreamInterceptor(append(stream, s.tellLostStream, s.boundStream)...),
	}
}

// Register adds the services to a server that was made with options: poh.HoldMetrics,
// poh.HoldMetricsQuery, health and reflection.
func (s *Server) Register(to *grpc.Server) {
	to.RegisterService(metricsService(), &metricsServer{s: s})
	holdpb.RegisterHoldMetricsQueryServer(to, &queryServer{s: s})
	healthpb.RegisterHealthServer(to, &healthServer{reads: s.cfg.Reads})
	reflection.Register(to)
}

// metricsServer is poh.HoldMetrics.
type metricsServer struct {
	holdpb.UnimplementedHoldMetricsServer
	s *Server
}

// Stats sends the current snapshots, then ends, unless it is asked to watch.
func (s *metricsServer) Stats(req *holdpb.StatsRequest, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	return statusError(s.s.sendStats(req, stream))
}

// queryServer is poh.HoldMetricsQuery.
type queryServer struct {
	holdpb.UnimplementedHoldMetricsQueryServer
	s *Server
}

// GetSnapshot is the same as Stats, but never watches.
func (s *queryServer) GetSnapshot(req *holdpb.StatsRequest, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	if req.GetWatch() {
		return statusError(&hold.FieldError{Field: "watch", Err: query.ErrTogether, Detail: "call Stats"})
	}
	return statusError(s.s.sendStats(req, stream))
}

// HealthCheck reports that the process answers. The health service and GET /readyz
// report whether it is ready.
func (s *queryServer) HealthCheck(context.Context, *holdpb.Empty) (*holdpb.HoldAck, error) {
	return &holdpb.HoldAck{Ok: true}, nil
}

// Scores reads exact figures from the store.
func (s *queryServer) Scores(req *holdpb.ScoresRequest, stream grpc.ServerStreamingServer[holdpb.Score]) error {
	return statusError(s.s.sendScores(req, stream))
}

// Explain sends the holds behind a score.
func (s *queryServer) Explain(req *holdpb.ExplainRequest, stream grpc.ServerStreamingServer[holdpb.Contribution]) error {
	return statusError(s.s.sendContributions(req, stream))
}

// History sends the score at evenly spaced instants.
func (s *queryServer) History(req *holdpb.HistoryRequest, stream grpc.ServerStreamingServer[holdpb.ScorePoint]) error {
	return statusError(s.s.sendHistory(req, stream))
}

// Top sends a page of a ranking.
func (s *queryServer) Top(ctx context.Context, req *holdpb.TopRequest) (*holdpb.TopAnswer, error) {
	answer, err := s.s.answerTop(ctx, req)
	return answer, statusError(err)
}

// Rank sends the place of one holder.
func (s *queryServer) Rank(ctx context.Context, req *holdpb.RankRequest) (*holdpb.RankAnswer, error) {
	answer, err := s.s.answerRank(ctx, req)
	return answer, statusError(err)
}

// Status says how the partitions do, and who owns them.
func (s *queryServer) Status(ctx context.Context, _ *holdpb.Empty) (*holdpb.StatusAnswer, error) {
	answer, err := s.s.answerStatus(ctx)
	return answer, statusError(err)
}

// metricsService is the generated description of poh.HoldMetrics, with the
// methods that take events exchanged for ones that read bytes (see rawMessage).
func metricsService() *grpc.ServiceDesc {
	desc := holdpb.HoldMetrics_ServiceDesc
	desc.Methods = slices.Clone(desc.Methods)
	for i := range desc.Methods {
		if desc.Methods[i].MethodName == "Record" {
			desc.Methods[i].Handler = recordHandler
		}
	}
	desc.Streams = slices.Clone(desc.Streams)
	for i := range desc.Streams {
		switch desc.Streams[i].StreamName {
		case "Broadcast":
			desc.Streams[i].Handler = func(srv any, stream grpc.ServerStream) error {
				return statusError(srv.(*metricsServer).s.broadcast(stream))
			}
		case "BroadcastBatch":
			desc.Streams[i].Handler = func(srv any, stream grpc.ServerStream) error {
				return statusError(srv.(*metricsServer).s.broadcastBatch(stream))
			}
		}
	}
	return &desc
}

func recordHandler(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	raw := new(rawMessage)
	if err := decode(raw); err != nil {
		return nil, err
	}
	if err := received(raw); err != nil {
		return nil, err
	}
	call := func(ctx context.Context, req any) (any, error) {
		ack, err := srv.(*metricsServer).s.record(ctx, req.(*rawMessage).bytes)
		return ack, statusError(err)
	}
	if interceptor == nil {
		return call(ctx, raw)
	}
	return interceptor(ctx, raw, &grpc.UnaryServerInfo{Server: srv, FullMethod: holdpb.HoldMetrics_Record_FullMethodName}, call)
}
