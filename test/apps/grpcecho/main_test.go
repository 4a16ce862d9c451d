package main

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/freeport"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// start runs the app and returns a connection to it, and its address.
func start(t *testing.T, env map[string]string) (*grpc.ClientConn, string) {
	t.Helper()
	l, err := freeport.Listen()
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	host, port, _ := net.SplitHostPort(addr)
	all := map[string]string{"ADDR": host, "PORT": port, "WADI_REVISION": "r1", "START_DELAY": "1ms"}
	for k, v := range env {
		all[k] = v
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, func(k string) string { return all[k] }) }()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return conn, addr
}

func TestEcho(t *testing.T) {
	last, addr := start(t, nil)
	conn, _ := start(t, map[string]string{"WADI_REVISION": "r2", "UPSTREAM": addr})
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "echo-a", "b"), time.Minute)
	defer cancel()
	if r, err := healthpb.NewHealthClient(last).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: got %v, %v", r, err)
	}
	for _, tt := range []struct {
		text, want string
		code       codes.Code
	}{
		{"hi", "r2: hi", 0},
		{"sleep 1ms", "r2: sleep 1ms", 0},
		{"pass hi", "r1: hi", 0},
		{"fail 8 none left", "", codes.ResourceExhausted},
		{"pass fail 8 none left", "", codes.ResourceExhausted},
	} {
		var header, trailer metadata.MD
		out := &wrapperspb.StringValue{}
		err := conn.Invoke(ctx, "/wadi.test.Echo/Say", wrapperspb.String(tt.text), out, grpc.Header(&header), grpc.Trailer(&trailer))
		if out.Value != tt.want || status.Code(err) != tt.code {
			t.Errorf("%q: got %q, %v, want %q, %s", tt.text, out.Value, err, tt.want, tt.code)
		}
		if got := trailer.Get("echo-revision"); len(got) != 1 || got[0] != "r2" {
			t.Errorf("%q: got trailer %v, want the revision", tt.text, trailer)
		}
		if got := header.Get("echo-a"); err == nil && (len(got) != 1 || got[0] != "b") {
			t.Errorf("%q: got header %v, want echo-a", tt.text, header)
		}
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/wadi.test.Echo/Talk")
	if err != nil {
		t.Fatal(err)
	}
	out := &wrapperspb.StringValue{}
	for range 2 {
		if err := s.SendMsg(wrapperspb.String("x")); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(out); err != nil || out.Value != "r2: x" {
			t.Errorf("got %q, %v", out.Value, err)
		}
	}
	s, err = conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/wadi.test.Echo/Count")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(wrapperspb.String("2 1ms")); err != nil {
		t.Fatal(err)
	}
	_ = s.CloseSend()
	for _, want := range []string{"0", "1"} {
		if err := s.RecvMsg(out); err != nil || out.Value != want {
			t.Errorf("got %q, %v, want %s", out.Value, err, want)
		}
	}
}
