package server_test

import (
	"net/http"
	"strings"
	"testing"
)

// Without the right to a service's intentions in Consul a caller can't set or remove them,
// nor delete the service. Tokens are neither logged nor shown.
func TestIntentions_TakeTheCallersConsulToken(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Guard("secret-of-carol", "hello")
	with := strings.Replace(strings.Replace(strings.Replace(hello, `"off"`, `"envoy"`, 1), `"host"`, `"bridge"`, 1),
		"  instance {", "  intentions {\n    allow = [\"web\"]\n  }\n  instance {", 1)
	for _, tt := range []struct {
		method, path, body, token string
		status                    int
	}{
		{"PUT", "/v1/services", submission(with), "secret-of-bob", http.StatusForbidden},
		{"POST", "/v1/services/validate", submission(with), "", http.StatusForbidden},
		{"PUT", "/v1/services", submission(with), "secret-of-carol", http.StatusOK},
		{"DELETE", "/v1/service/hello", "", "secret-of-bob", http.StatusForbidden},
		{"DELETE", "/v1/service/hello", "", "", http.StatusForbidden},
		{"DELETE", "/v1/service/hello", "", "secret-of-carol", http.StatusAccepted},
		{"DELETE", "/v1/service/hello", "", "", http.StatusAccepted}, // It is marked already.
	} {
		got := b.ask(t, tt.method, tt.path, tt.body, "X-Consul-Token", tt.token)
		if got.status != tt.status {
			t.Errorf("%s %s with %q: got %d %s, want %d", tt.method, tt.path, tt.token, got.status, got.body, tt.status)
		}
		if tt.status == http.StatusForbidden && !strings.Contains(got.body, `intentions = \"write\"`) {
			t.Errorf("%s %s: the remedy is missing in %s", tt.method, tt.path, got.body)
		}
		if strings.Contains(got.body, "secret-of") {
			t.Errorf("the answer shows a token: %s", got.body)
		}
	}
	if strings.Contains(b.log.String(), "secret-of") {
		t.Errorf("the log shows a token:\n%s", b.log.String())
	}
}
