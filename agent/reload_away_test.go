package agent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// silentNomad lets an agent that was made with it reload a new token, which Nomad is asked
// about and says nothing. asked has an element for each question.
func silentNomad(t *testing.T) (r *reloading, asked <-chan struct{}) {
	t.Helper()
	questions := make(chan struct{}, 8)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		questions <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	r = newReloading(t)
	c := r.inForce()
	c.Nomad.Address = s.URL
	r.live.Store(&c)
	r.edit("", `nomad { address = "http://127.0.0.1:1" }`, "nomad {\n  address = \"http://127.0.0.1:1\"\n  token = \"5f1b6c1e-0000-0000-0000-000000000000\"\n}")
	return r, questions
}

// A backend that takes a question and says nothing is away: a warning, and the reload is in
// force. It is not a file that hangs.
func TestReload_SilentBackend(t *testing.T) {
	t.Parallel() // It waits for askTimeout.
	r, _ := silentNomad(t)
	done := r.reload()
	if !cmp.Equal(done.Changed, []string{"nomad.token"}) || len(done.Warnings) != 1 || !strings.Contains(done.Warnings[0], "Nomad can't be asked") {
		t.Errorf("got %+v", done)
	}
}

// A caller that goes away while Nomad is asked changes nothing: neither is the token in
// force unseen, nor is the configuration noted as bad.
func TestReload_CallerGone(t *testing.T) {
	r, asked := silentNomad(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.Reload(ctx)
		ended <- err
	}()
	<-asked
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(err, errCallerGone) {
		t.Errorf("got %v", err)
	}
	if token := r.inForce().Nomad.Token; token != "" {
		t.Errorf("the token %q is in force", token)
	}
	if n := testutil.ToFloat64(r.reloads.total.WithLabelValues("refused")); n != 0 || testutil.ToFloat64(r.reloads.success) != 1 {
		t.Errorf("%v refusals are counted", n)
	}
	// Its turn has ended.
	r.edit("", "  token = \"5f1b6c1e-0000-0000-0000-000000000000\"\n", "")
	if done := r.reload(); len(done.Changed) > 0 {
		t.Errorf("then: %+v", done)
	}
}
