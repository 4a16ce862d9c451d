package agent

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
)

// A Consul that loses everything while agents run is another installation from then on:
// no service is stored there, and the jobs that run are not its.
func TestSweeper_ConsulThatLostEverything(t *testing.T) {
	var filters []string
	jobs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		filters = append(filters, r.URL.Query().Get("filter"))
		_, _ = w.Write([]byte("[]"))
	}))
	defer jobs.Close()
	kv := consultest.Start(t)
	a := &Agent{log: hclog.NewNullLogger()}
	var err error
	if a.nomad, err = nomad.New(nomad.Config{Address: jobs.URL}); err != nil {
		t.Fatal(err)
	}
	defer a.nomad.Close()
	if a.consul, err = consul.New(consul.Config{Address: kv.URL}); err != nil {
		t.Fatal(err)
	}
	a.store = store.New(a.consul, "wadi", "one", a.log)
	before, err := a.store.Installation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.installation.Store(&before)

	list := a.sweeper(nil, nil, nil).List
	if _, err := list(t.Context()); err != nil || !strings.Contains(filters[0], before) {
		t.Fatalf("asked for %q, %v, want jobs of %s", filters, err, before)
	}
	kv.Restore()
	if _, err := list(t.Context()); err != nil || strings.Contains(filters[1], before) {
		t.Errorf("asked for %q, %v, as if it still were %s", filters[1:], err, before)
	}
	kv.Fail(http.StatusInternalServerError)
	if _, err := list(t.Context()); err == nil || len(filters) > 2 {
		t.Errorf("asked for %q though whose jobs are its own is not known, %v", filters[2:], err)
	}
}
