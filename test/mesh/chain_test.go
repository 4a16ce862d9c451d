//go:build e2e

package mesh_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"testing"
)

// A caller calls a service at zero that calls another one at zero: one request wakes both,
// and its body and headers arrive.
func TestChain_OneRequestWakesAll(t *testing.T) {
	t.Parallel()
	deploy(t, hello("chain-c", options{})+hello("chain-b", options{
		env:  map[string]string{"UPSTREAM": "http://127.0.0.1:9191"},
		more: "upstream \"chain-c\" {\n    local_port = 9191\n  }",
	}))
	body := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(body) // Never fails.
	res, err := callerA.Send(t, http.MethodPost, "chain-b", "/call/", http.Header{"Content-Type": {"application/x-chain"}}, bytes.NewReader(body))
	must(t, "call the chain", err)
	t.Logf("answered after %v", res.Took)
	wantFrom(t, res, "chain-c-00001")
	if res.Body != string(body) {
		t.Errorf("got %d bytes back that differ from the %d sent", len(res.Body), len(body))
	}
	if got := res.Header.Get("Content-Type"); got != "application/x-chain" {
		t.Errorf("the app saw Content-Type %q, want application/x-chain", got)
	}
	for _, revision := range []string{"chain-b-00001", "chain-c-00001"} {
		if got := len(stack.Wakes(t, revision)); got != 1 {
			t.Errorf("%s was woken %d times, want once", revision, got)
		}
	}
}
