//go:build e2e

package dataplane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wadi-run/wadi/test/harness"
)

// TestGRPC: calls of each kind, many at once on one connection, end with the app's status.
// The mesh tests show the same through Envoys.
func TestGRPC(t *testing.T) {
	t.Parallel()
	const name = "grpc-plain"
	stack.Deploy(t, service(name, options{command: "grpcecho", protocol: "grpc", probe: `grpc = ""`, scale: atZero(1)}))
	conn, err := grpc.NewClient("passthrough:///"+name+"."+harness.Domain, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", stack.Agent.Gateway)
		}))
	must(t, "make a client", err)
	t.Cleanup(func() { _ = conn.Close() })
	t.Run("calls", func(t *testing.T) {
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				says(t, conn, "hi "+strings.Repeat("x", i<<18))
				talksBack(t, conn)
			})
		}
	})
	t.Run("status", func(t *testing.T) {
		err := conn.Invoke(t.Context(), "/wadi.test.Echo/Say", wrapperspb.String("fail 9 it can't"), &wrapperspb.StringValue{})
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "it can't" {
			t.Errorf("got %v, want the app's status", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := conn.Invoke(ctx, "/wadi.test.Echo/Say", wrapperspb.String("sleep 1h"), &wrapperspb.StringValue{})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("got %v, want the deadline's", err)
		}
		says(t, conn, "after it") // The connection stays open.
	})
}

func says(t *testing.T, conn *grpc.ClientConn, text string) {
	t.Helper()
	var trailer metadata.MD
	out := &wrapperspb.StringValue{}
	err := conn.Invoke(t.Context(), "/wadi.test.Echo/Say", wrapperspb.String(text), out, grpc.Trailer(&trailer))
	if err != nil || !strings.HasSuffix(out.Value, ": "+text) || len(trailer.Get("echo-revision")) != 1 {
		t.Errorf("got %.60q, %v, trailer %v", out.Value, err, trailer)
	}
}

// talksBack sends each message after the answer to the last one.
func talksBack(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/wadi.test.Echo/Talk")
	must(t, "begin to talk", err)
	out := &wrapperspb.StringValue{}
	for i := range 3 {
		must(t, "send", s.SendMsg(wrapperspb.String(fmt.Sprint("line ", i))))
		if err := s.RecvMsg(out); err != nil || !strings.HasSuffix(out.Value, fmt.Sprint(": line ", i)) {
			t.Fatalf("got %q, %v", out.Value, err)
		}
	}
	must(t, "end", s.CloseSend())
	if err := s.RecvMsg(out); !errors.Is(err, io.EOF) || len(s.Trailer().Get("echo-revision")) != 1 {
		t.Errorf("got %v, trailer %v, want the end", err, s.Trailer())
	}
}
