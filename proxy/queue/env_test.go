package queue_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/queue"
)

// required is the smallest environment.
func required(more ...string) []string {
	return append([]string{
		"WADI_SERVICE=hello", "WADI_REVISION=hello-00001", "WADI_LISTEN=127.0.0.1:8012",
		"WADI_ADMIN=127.0.0.1:8022", "WADI_METRICS=0.0.0.0:9090", "WADI_TARGET=127.0.0.1:8080",
	}, more...)
}

func defaults() queue.Config {
	return queue.Config{
		Service: "hello", Revision: "hello-00001",
		Listen: "127.0.0.1:8012", Admin: "127.0.0.1:8022", Metrics: "0.0.0.0:9090", Target: "127.0.0.1:8080",
		Protocol: wadi.HTTP1, MaxInFlight: 1000, MaxHTTP2: 375,
		Timeout: wadi.Timeouts{Request: wadi.Duration(300 * time.Second)},
		Probe:   wadi.Probe{Timeout: wadi.Duration(time.Second)},
		Drain:   300 * time.Second, History: time.Hour, LogLevel: hclog.Info,
	}
}

func TestParseEnv_Defaults(t *testing.T) {
	got, errs := queue.ParseEnv(required("PATH=/bin", "NOMAD_ALLOC_ID=x", "WADI_ADDR=http://a",
		"WADI_CACERT=/ca.pem", "WADI_CLIENT_CERT=/a.pem", "WADI_CLIENT_KEY=/a.key", "WADI_TLS_SERVER_NAME=a",
		"WADI_VAR_image=nginx", "WADI_QUIET=", "WADI_INSTANCE="))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if diff := cmp.Diff(defaults(), got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestParseEnv_Everything(t *testing.T) {
	got, errs := queue.ParseEnv(required("WADI_INSTANCE=alloc", "WADI_PROTOCOL=grpc", "WADI_ENVOY=127.0.0.1:25000",
		"WADI_CONCURRENCY_LIMIT=5", "WADI_MAX_IN_FLIGHT=7", "WADI_TIMEOUT_REQUEST=60s",
		"WADI_TIMEOUT_RESPONSE_START=10s", "WADI_TIMEOUT_IDLE=5s", `WADI_PROBE={"grpc": "", "timeout": "2s"}`,
		`WADI_QUIET=["/healthz", "/a"]`, "WADI_HISTORY=6s", "WADI_LOG_LEVEL=debug", "WADI_ACCESS_LOG=true",
		"WADI_SHIELD=true", "NOMAD_PORT_wadi_metrics=9090", "NOMAD_PORT_admin=9100", "NOMAD_HOST_PORT_admin=20001",
		"WADI_PROOF_SHA256="+strings.Repeat("0a", 32)))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := defaults()
	want.Instance, want.Protocol, want.Envoy = "alloc", wadi.GRPC, "127.0.0.1:25000"
	want.Shield, want.Mapped = true, []uint16{9090, 9100}
	want.Limit, want.Depth, want.MaxInFlight = 5, 50, 7
	want.Timeout = wadi.Timeouts{Request: wadi.Duration(time.Minute),
		ResponseStart: wadi.Duration(10 * time.Second), Idle: wadi.Duration(5 * time.Second)}
	want.Probe = wadi.Probe{GRPC: new(string), Timeout: wadi.Duration(2 * time.Second)}
	want.Drain, want.History = time.Minute, 6*time.Second
	want.Proof = bytes.Repeat([]byte{10}, 32)
	want.Quiet, want.LogLevel, want.AccessLog = []string{"/healthz", "/a"}, hclog.Debug, true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestParseEnv_Complaints(t *testing.T) {
	for _, tt := range []struct{ set, want string }{
		{"WADI_CONCURENCY_LIMIT=1", "WADI_CONCURENCY_LIMIT: there is no such setting"},
		{"WADI_SERVICE=", "WADI_SERVICE: is required"},
		{"WADI_LISTEN=8012", `WADI_LISTEN: must be host:port, got "8012"`},
		{"WADI_LISTEN=:99999", `WADI_LISTEN: must be host:port, got ":99999"`},
		{"WADI_ENVOY=127.0.0.1:${NOMAD_PORT_x}", `WADI_ENVOY: must be host:port, got "127.0.0.1:${NOMAD_PORT_x}"`},
		{"WADI_ADMIN=0.0.0.0:8022", `WADI_ADMIN: must be a loopback address, because it is not authenticated; got "0.0.0.0:8022"`},
		{"WADI_PROTOCOL=spdy", `WADI_PROTOCOL: must be http1, h2c or grpc, got "spdy"`},
		{"WADI_CONCURRENCY_LIMIT=-1", `WADI_CONCURRENCY_LIMIT: must be a whole number from 0 to 1000000, got "-1"`},
		{"WADI_QUEUE_DEPTH=many", `WADI_QUEUE_DEPTH: must be a whole number from 0 to 10000000, got "many"`},
		{"WADI_MAX_IN_FLIGHT=0", `WADI_MAX_IN_FLIGHT: must be a whole number from 1 to 1000000, got "0"`},
		{"WADI_TIMEOUT_REQUEST=0s", `WADI_TIMEOUT_REQUEST: must be at least 1ms, got "0s"`},
		{"WADI_TIMEOUT_IDLE=5", `WADI_TIMEOUT_IDLE: must be a duration such as 30s, got "5"`},
		{"WADI_TIMEOUT_RESPONSE_START=-1s", `WADI_TIMEOUT_RESPONSE_START: must be at least 0s, got "-1s"`},
		{"WADI_DRAIN_TIMEOUT=0s", `WADI_DRAIN_TIMEOUT: must be at least 1ms, got "0s"`},
		{"WADI_HISTORY=25h", "WADI_HISTORY: must be at most 24h0m0s"},
		{`WADI_PROBE={"http": "/", "tcp": true}`, "WADI_PROBE: must hold one of http, tcp and grpc"},
		{`WADI_PROBE={"http": "healthz"}`, `WADI_PROBE: http must be a path that begins with /, got "healthz"`},
		{`WADI_PROBE={"timeout": "-1s"}`, "WADI_PROBE: timeout must be positive, got -1s"},
		{`WADI_PROBE={"path": "/"}`, `WADI_PROBE: must be JSON such as {"http": "/healthz", "timeout": "1s"}: json: unknown field "path"`},
		{`WADI_QUIET=["healthz"]`, `WADI_QUIET: a path begins with /, got "healthz"`},
		{`WADI_QUIET=/healthz`, "WADI_QUIET: must be a JSON list of paths: invalid character '/' looking for beginning of value"},
		{"WADI_LOG_LEVEL=loud", `WADI_LOG_LEVEL: must be trace, debug, info, warn, error or off, got "loud"`},
		{"WADI_PROOF_SHA256=abcdef", "WADI_PROOF_SHA256: must be a SHA-256 in hexadecimal digits"},
		{"WADI_PROOF_SHA256=" + strings.Repeat("x", 64), "WADI_PROOF_SHA256: must be a SHA-256 in hexadecimal digits"},
		{"WADI_SHIELD=up", `WADI_SHIELD: must be true or false, got "up"`},
		{"WADI_SHIELD=true", "WADI_SHIELD: needs WADI_ENVOY: without the mesh callers come straight to the queue-proxy"},
		{"WADI_ACCESS_LOG=perhaps", `WADI_ACCESS_LOG: must be true or false, got "perhaps"`},
	} {
		_, errs := queue.ParseEnv(required(tt.set))
		if len(errs) != 1 || errs[0].Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.set, errs, tt.want)
		}
	}
}

func TestParseEnv_ComplainsOfAllAtOnce(t *testing.T) {
	_, errs := queue.ParseEnv([]string{"WADI_PROTOCOL=x", "WADI_X=1", "WADI_Y=1"})
	var names []string
	for _, err := range errs {
		name, _, _ := strings.Cut(err.Error(), ":")
		names = append(names, strings.TrimPrefix(name, "WADI_"))
	}
	want := "ADMIN LISTEN METRICS PROTOCOL REVISION SERVICE TARGET X Y"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("complaints of %s, want %s", got, want)
	}
}
