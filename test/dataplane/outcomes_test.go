//go:build e2e

package dataplane_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
)

// TestOutcomes: what the leader knows of a revision is what its callers have counted, over
// HTTP/1 and gRPC.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	t.Run("HTTP", func(t *testing.T) {
		t.Parallel()
		const name = "outcomes"
		up(t, name, options{})
		counted := map[string]uint64{"200": 1} // By up.
		for _, path := range []string{"/uri", "/early", "/count?refuse=1", "/no-such-path", "/uri", "/bytes?n=9"} {
			switch stack.Get(t, name, path).Status {
			case http.StatusOK:
				counted["200"]++
			case http.StatusForbidden:
				counted["403"]++
			case http.StatusExpectationFailed:
				counted["417"]++
			case http.StatusNotFound:
				counted["404"]++
			}
		}
		got := outcomes(t, name, func(r api.RevisionOutcomes) bool { return cmp.Equal(counted, r.Codes) && r.InstanceSeconds > 0 })
		if got.Errors != 0 || got.P99 == 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("gRPC", func(t *testing.T) {
		t.Parallel()
		const name = "outcomes-grpc"
		stack.Deploy(t, service(name, options{command: "grpcecho", protocol: "grpc", probe: `grpc = ""`, scale: atZero(1)}))
		conn, err := grpc.NewClient("passthrough:///"+name+"."+harness.Domain, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", stack.Agent.Gateway)
			}))
		must(t, "make a client", err)
		t.Cleanup(func() { _ = conn.Close() })
		for _, text := range []string{"hi", "hi again", "fail 9 it can't", "fail 14 it is away", "fail 13 it broke"} {
			_ = conn.Invoke(t.Context(), "/wadi.test.Echo/Say", wrapperspb.String(text), &wrapperspb.StringValue{}) // Some fail, and are counted.
		}
		counted := map[string]uint64{"grpc:0": 2, "grpc:9": 1, "grpc:14": 1, "grpc:13": 1}
		// Instances tell the codes, activators the cold starts, each in its own time.
		got := outcomes(t, name, func(r api.RevisionOutcomes) bool { return cmp.Equal(counted, r.Codes) && r.ColdStarts > 0 })
		if got.Errors != 2 || got.ColdStarts != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// outcomes waits until what the leader knows of a service's first revision is as wanted.
func outcomes(t *testing.T, name string, is func(api.RevisionOutcomes) bool) (got api.RevisionOutcomes) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		check, err := stack.Agent.Client.CheckRollout(t.Context(), name, time.Hour)
		must(t, "compare revisions", err)
		for _, r := range check.Revisions {
			if got = r; r.Revision == revision(name) && is(r) {
				return r
			}
		}
	}
	t.Fatalf("the leader knows after a minute: %+v", got)
	return got
}
