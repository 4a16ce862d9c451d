package programs_test

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi/tools/programs"
)

// A builder's own settings make no other programs: the last value of a variable counts.
func TestEnv(t *testing.T) {
	last := map[string]string{}
	for _, kv := range programs.Env([]string{"PATH=/bin", "GOAMD64=v3", "GOFLAGS=-tags=x", "GOWORK=/x/go.work", "GOFIPS140=latest", "GOOS=plan9", "CGO_ENABLED=1"}, "linux", "arm64") {
		k, v, _ := strings.Cut(kv, "=")
		last[k] = v
	}
	for k, want := range map[string]string{"PATH": "/bin", "GOAMD64": "v1", "GOFLAGS": "-trimpath", "GOWORK": "off", "GOFIPS140": "off", "GOOS": "linux", "GOARCH": "arm64", "CGO_ENABLED": "0"} {
		if got, ok := last[k]; !ok || got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
}
