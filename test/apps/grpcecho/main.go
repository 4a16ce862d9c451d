// Command grpcecho is the gRPC app of the tests: it echoes messages, and
// misbehaves on request.
//
// Environment: PORT (8080), ADDR (host to listen on, default 127.0.0.1), WADI_REVISION,
// START_DELAY (duration before it listens), UPSTREAM (host:port of another grpcecho:
// calls of Say that begin with "pass " are passed on to it, without that word).
//
// Methods of wadi.test.Echo, each with google.protobuf.StringValue in and out:
//
//	Say    answers "<revision>: <text>". "fail CODE MESSAGE" ends with that status
//	       (CODE is a number), "sleep DURATION" answers later.
//	Count  answers a stream of 0, 1, … N-1 for "N" or "N DURATION", with pauses.
//	Talk   answers each message of a stream as Say does.
//
// Every method sends the metadata that came in and begins with "echo-" back as
// header, and ends with the trailer "echo-revision". grpc.health.v1.Health is served
// too. SIGTERM ends it when the running calls are done.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wadi-run/wadi/test/apps/launch"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "grpcecho:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then finishes what it has begun.
func run(ctx context.Context, getenv func(string) string) error {
	e := &echo{revision: getenv("WADI_REVISION")}
	if target := getenv("UPSTREAM"); target != "" {
		conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return fmt.Errorf("read UPSTREAM: %w", err)
		}
		defer func() { _ = conn.Close() }()
		e.upstream = conn
	}
	l, err := launch.Listen(ctx, getenv)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&desc, e)
	healthpb.RegisterHealthServer(s, health.NewServer())
	defer context.AfterFunc(ctx, s.GracefulStop)()
	return s.Serve(l)
}

// echo is the service.
type echo struct {
	revision string
	upstream *grpc.ClientConn // Nil: there is none.
}

// desc is the service description that protoc would generate.
var desc = grpc.ServiceDesc{
	ServiceName: "wadi.test.Echo",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Say", Handler: say}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Count", Handler: count, ServerStreams: true},
		{StreamName: "Talk", Handler: talk, ServerStreams: true, ClientStreams: true},
	},
}

func say(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	e := srv.(*echo)
	in := &wrapperspb.StringValue{}
	if err := decode(in); err != nil {
		return nil, err
	}
	if err := grpc.SetHeader(ctx, back(ctx)); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, e.trailer()); err != nil {
		return nil, err
	}
	return e.answer(ctx, in.GetValue())
}

func count(srv any, s grpc.ServerStream) error {
	e := srv.(*echo)
	in := &wrapperspb.StringValue{}
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	s.SetTrailer(e.trailer())
	if err := s.SetHeader(back(s.Context())); err != nil {
		return err
	}
	number, every, _ := strings.Cut(in.GetValue(), " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	wait, err := time.ParseDuration(every)
	if err != nil && every != "" {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	for i := range n {
		if i > 0 {
			launch.Pause(s.Context(), wait)
		}
		if err := s.SendMsg(wrapperspb.String(strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return nil
}

func talk(srv any, s grpc.ServerStream) error {
	e := srv.(*echo)
	s.SetTrailer(e.trailer())
	if err := s.SendHeader(back(s.Context())); err != nil {
		return err
	}
	for {
		in := &wrapperspb.StringValue{}
		if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
			return nil // The caller has closed its side.
		} else if err != nil {
			return err
		}
		out, err := e.answer(s.Context(), in.GetValue())
		if err != nil {
			return err
		}
		if err := s.SendMsg(out); err != nil {
			return err
		}
	}
}

// answer follows the instruction in text.
func (e *echo) answer(ctx context.Context, text string) (*wrapperspb.StringValue, error) {
	verb, rest, _ := strings.Cut(text, " ")
	switch verb {
	case "fail":
		number, message, _ := strings.Cut(rest, " ")
		code, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		return nil, status.Error(codes.Code(code), message)
	case "sleep":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		launch.Pause(ctx, d)
	case "pass":
		if e.upstream == nil {
			return nil, status.Error(codes.FailedPrecondition, "there is no UPSTREAM")
		}
		out := &wrapperspb.StringValue{}
		err := e.upstream.Invoke(ctx, "/wadi.test.Echo/Say", wrapperspb.String(rest), out)
		return out, err
	}
	return wrapperspb.String(e.revision + ": " + text), nil
}

func (e *echo) trailer() metadata.MD { return metadata.Pairs("echo-revision", e.revision) }

// back is the metadata to echo.
func back(ctx context.Context) metadata.MD {
	in, _ := metadata.FromIncomingContext(ctx)
	out := metadata.MD{}
	for k, v := range in {
		if strings.HasPrefix(k, "echo-") {
			out[k] = v
		}
	}
	return out
}
