//go:build e2e

package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/test/harness"
)

// grpcEcho renders a service of the gRPC app, at zero.
func grpcEcho(name, mesh, env, more string) string {
	return fmt.Sprintf(`service %q {
  protocol = "grpc"
  network  = "bridge"
  mesh     = %q
  instance {
    task "app" {
      driver = "raw_exec"
      config {
        command = "grpcecho"
      }
      env {
        %s
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  probe {
    grpc = ""
  }
  queue {
    quiet = [%q]
  }
  scale {
    max         = 1
    initial     = 0
    window      = "1h"
    manual_hold = "5m"
  }
  %s
}
`, name, mesh, env, quietPath, more)
}

// grpcClient speaks gRPC to what dial connects to.
func grpcClient(t *testing.T, authority string, dial func(context.Context, string) (net.Conn, error)) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+authority, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dial), grpc.WithDisableRetry())
	must(t, "make a gRPC client", err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// grpc returns a client whose calls of a service come from the caller's network.
func (c *caller) grpc(t *testing.T, callee string) *grpc.ClientConn {
	return grpcClient(t, c.Addr(callee), c.Dial)
}

// gatewayGRPC returns a client of a service at the gateway.
func gatewayGRPC(t *testing.T, service string) *grpc.ClientConn {
	return grpcClient(t, service+"."+harness.Domain, func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", stack.Agent.Gateway)
	})
}

func callContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, "echo-in", "a, b", "echo-bin-bin", "\x00\xff")
}

// say calls Say and checks the whole answer.
func say(t *testing.T, conn *grpc.ClientConn, revision, text string) {
	t.Helper()
	var header, trailer metadata.MD
	out := &wrapperspb.StringValue{}
	err := conn.Invoke(callContext(t), "/wadi.test.Echo/Say", wrapperspb.String(text), out, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || out.Value != revision+": "+text {
		t.Fatalf("say %.20q: got %.60q, %v; header %v, trailer %v", text, out.Value, err, header, trailer)
	}
	wantEchoed(t, header, trailer, revision)
}

// wantEchoed checks the metadata of an answer.
func wantEchoed(t *testing.T, header, trailer metadata.MD, revision string) {
	t.Helper()
	if got := strings.Join(header.Get("echo-in"), "|"); got != "a, b" {
		t.Errorf("got header echo-in %q, want \"a, b\"; %v", got, header)
	}
	if got := strings.Join(header.Get("echo-bin-bin"), "|"); got != "\x00\xff" {
		t.Errorf("got header echo-bin-bin %q; %v", got, header)
	}
	if got := strings.Join(trailer.Get("echo-revision"), "|"); got != revision {
		t.Errorf("got trailer echo-revision %q, want %s; %v", got, revision, trailer)
	}
}

// talk exchanges messages in both directions: each after the answer to the last one.
func talk(t *testing.T, conn *grpc.ClientConn, revision string) {
	t.Helper()
	s, err := conn.NewStream(callContext(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/wadi.test.Echo/Talk")
	must(t, "begin to talk", err)
	out := &wrapperspb.StringValue{}
	for i := range 3 {
		text := fmt.Sprint("line ", i)
		if err := s.SendMsg(wrapperspb.String(text)); err != nil {
			t.Fatalf("talk: send: %v", err)
		}
		if err := s.RecvMsg(out); err != nil || out.Value != revision+": "+text {
			t.Fatalf("talk: got %q, %v", out.Value, err)
		}
	}
	must(t, "end to talk", s.CloseSend())
	if err := s.RecvMsg(out); !errors.Is(err, io.EOF) {
		t.Errorf("talk: got %v at the end, want EOF", err)
	}
	header, err := s.Header()
	must(t, "read header", err)
	wantEchoed(t, header, s.Trailer(), revision)
}

// count receives a stream of messages.
func count(t *testing.T, conn *grpc.ClientConn, revision string) {
	t.Helper()
	s, err := conn.NewStream(callContext(t), &grpc.StreamDesc{ServerStreams: true}, "/wadi.test.Echo/Count")
	must(t, "begin to count", err)
	must(t, "ask to count", s.SendMsg(wrapperspb.String("5 20ms")))
	must(t, "ask to count", s.CloseSend())
	out := &wrapperspb.StringValue{}
	for i := range 5 {
		if err := s.RecvMsg(out); err != nil || out.Value != fmt.Sprint(i) {
			t.Fatalf("count: got %q, %v, want %d", out.Value, err, i)
		}
	}
	if err := s.RecvMsg(out); !errors.Is(err, io.EOF) {
		t.Errorf("count: got %v at the end, want EOF", err)
	}
	header, err := s.Header()
	must(t, "read header", err)
	wantEchoed(t, header, s.Trailer(), revision)
}

// fails checks that the app's own status arrives.
func fails(t *testing.T, conn *grpc.ClientConn, revision string) {
	t.Helper()
	const message = "100 % naïve\n"
	var trailer metadata.MD
	err := conn.Invoke(callContext(t), "/wadi.test.Echo/Say", wrapperspb.String("fail 9 "+message), &wrapperspb.StringValue{}, grpc.Trailer(&trailer))
	if st := status.Convert(err); st.Code() != codes.FailedPrecondition || st.Message() != message {
		t.Errorf("fail: got %v, want the app's own status", err)
	}
	if got := strings.Join(trailer.Get("echo-revision"), "|"); got != revision {
		t.Errorf("fail: got trailer %v, want the revision", trailer)
	}
}

// Each kind of call wakes a gRPC service, and goes directly to it when it runs, in the
// mesh and through the gateway. Status codes and metadata are the app's.
func TestGRPC_ColdAndWarm(t *testing.T) {
	t.Parallel()
	const service, revision = "grpc-echo", "grpc-echo-00001"
	deploy(t, grpcEcho(service, "envoy", "", ""))
	fromA, fromGateway := callerA.grpc(t, service), gatewayGRPC(t, service)
	kinds := map[string]func(conn *grpc.ClientConn){
		"unary":  func(conn *grpc.ClientConn) { say(t, conn, revision, "hi") },
		"talk":   func(conn *grpc.ClientConn) { talk(t, conn, revision) },
		"count":  func(conn *grpc.ClientConn) { count(t, conn, revision) },
		"status": func(conn *grpc.ClientConn) { fails(t, conn, revision) },
		"large":  func(conn *grpc.ClientConn) { say(t, conn, revision, strings.Repeat("x", 2<<20)) },
	}
	for _, kind := range []string{"unary", "talk", "count", "large"} {
		began := time.Now()
		kinds[kind](fromA)
		t.Logf("%s from zero took %v", kind, time.Since(began))
		toZero(t, revision)
	}
	kinds["talk"](fromGateway)
	kinds["status"](fromA) // On any way.
	waitDirectGRPC(t, service, func() { say(t, fromA, revision, "hi") })
	for name, kind := range kinds {
		kind(fromA)
		kind(fromGateway)
		if t.Failed() {
			t.Fatalf("a warm %s failed", name)
		}
	}
}

// Outside the mesh the same holds for the gateway's clients.
func TestGRPC_OutsideTheMesh(t *testing.T) {
	t.Parallel()
	const service, revision = "grpc-off", "grpc-off-00001"
	deploy(t, grpcEcho(service, "off", "", ""))
	conn := gatewayGRPC(t, service)
	talk(t, conn, revision)
	toZero(t, revision)
	count(t, conn, revision)
	fails(t, conn, revision)
	say(t, conn, revision, strings.Repeat("x", 2<<20))
}

// waitDirectGRPC calls a service until it is answered without an activator.
func waitDirectGRPC(t *testing.T, service string, call func()) {
	t.Helper()
	eventually(t, waitLong, func() error {
		before := activated(t, service)
		call()
		if after := activated(t, service); after > before {
			return fmt.Errorf("%g calls went through the activator", after)
		}
		return nil
	})
}

// One gRPC service calls another through its upstream; one call wakes both.
func TestGRPC_Chain(t *testing.T) {
	t.Parallel()
	deploy(t, grpcEcho("grpc-last", "envoy", "", "")+grpcEcho("grpc-chain", "envoy", `UPSTREAM = "127.0.0.1:9191"`,
		"upstream \"grpc-last\" {\n    local_port = 9191\n  }"))
	out := &wrapperspb.StringValue{}
	err := callerA.grpc(t, "grpc-chain").Invoke(callContext(t), "/wadi.test.Echo/Say", wrapperspb.String("pass hi"), out)
	if err != nil || out.Value != "grpc-last-00001: hi" {
		t.Errorf("got %q, %v, want grpc-last-00001: hi", out.Value, err)
	}
}

// Wadi refuses gRPC calls with gRPC statuses.
func TestGRPC_Refusals(t *testing.T) {
	t.Parallel()
	deploy(t, grpcEcho("grpc-slow", "envoy", "", "timeout {\n    request = \"3s\"\n  }\n")+
		grpcEcho("grpc-never", "off", `START_DELAY = "10m"`, "timeout {\n    request = \"2s\"\n  }\n"))
	slow := callerA.grpc(t, "grpc-slow")
	eventually(t, waitLong, func() error { // The first calls may time out before it is ready.
		return slow.Invoke(callContext(t), "/wadi.test.Echo/Say", wrapperspb.String("hi"), &wrapperspb.StringValue{})
	})
	waitDirectGRPC(t, "grpc-slow", func() { say(t, slow, "grpc-slow-00001", "hi") })
	for _, tt := range []struct {
		name, method, text string
		conn               *grpc.ClientConn
		code               codes.Code
		refusal            string
	}{
		{"queue-proxy, out of time", "/wadi.test.Echo/Say", "sleep 1m", slow, codes.DeadlineExceeded, activator.CodeRequestTimeout},
		{"activator, at zero", quietPath, "hi", gatewayGRPC(t, "grpc-never"), codes.Unavailable, activator.CodeQuiet},
		{"activator, out of time", "/wadi.test.Echo/Say", "hi", gatewayGRPC(t, "grpc-never"), codes.DeadlineExceeded, activator.CodeRequestTimeout},
		{"gateway, unknown host", "/wadi.test.Echo/Say", "hi", gatewayGRPC(t, "grpc-nobody"), codes.Unimplemented, activator.CodeNoHost},
		{"app, unknown method", "/wadi.test.Echo/Nothing", "hi", slow, codes.Unimplemented, ""},
	} {
		var header, trailer metadata.MD
		err := tt.conn.Invoke(callContext(t), tt.method, wrapperspb.String(tt.text), &wrapperspb.StringValue{}, grpc.Header(&header), grpc.Trailer(&trailer))
		got := strings.Join(metadata.Join(header, trailer).Get(activator.HeaderError), "|")
		if status.Code(err) != tt.code || got != tt.refusal {
			t.Errorf("%s: got %v (%s), want %s (%s)", tt.name, err, got, tt.code, tt.refusal)
		}
	}
}

// Plain HTTP/2 has all of the above: cold and warm, bodies and streams.
func TestH2C_ColdAndWarm(t *testing.T) {
	t.Parallel()
	const service, revision = "h2c-hello", "h2c-hello-00001"
	deploy(t, hello(service, options{more: "protocol = \"h2c\""}))
	h1, h2 := callerA.Client(t), callerA.Client(t)
	tr := h2.Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetUnencryptedHTTP2(true)
	send := func(c *http.Client, method, path, body string) harness.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, callerA.URL(service, path), strings.NewReader(body))
		must(t, "make a request", err)
		res, err := harness.Do(c, req)
		must(t, method+" "+path, err)
		wantFrom(t, res, revision)
		return res
	}
	all := func(c *http.Client) {
		t.Helper()
		if got := send(c, http.MethodPost, "/", "said").Body; got != "said" {
			t.Errorf("got %q back, want what was said", got)
		}
		if got := send(c, http.MethodGet, "/?stream=3&every=20ms", "").Body; strings.Count(got, "\n") != 3 {
			t.Errorf("got %q, want three lines", got)
		}
		// The app gets HTTP/2 whatever the caller uses.
		if got := send(c, http.MethodGet, "/?headers=1", "").Body; !strings.HasPrefix(got, "GET /?headers=1 HTTP/2.0") {
			t.Errorf("the app was asked %.60q, want HTTP/2", got)
		}
	}
	all(h2)
	toZero(t, revision)
	all(h1)
	waitDirect(t, callerA, service)
	all(h1)
	all(h2)
}
