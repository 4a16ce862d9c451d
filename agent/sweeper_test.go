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

// A Consul that loses everything while agents run is another installation from then on: no
// service is stored there, and it owns none of the running jobs.
func TestSweeper_ConsulThatLostEverything(t *testing.T) {
	var filters []string
	jobs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		filters = append(filters, r.URL.Query().Get("filter"))
		_, _ = w.Write([]byte("[]"))
	}))
	defer jobs.Close()
	kv := consultest.Start(t)
	client, err := nomad.New(nomad.Config{Address: jobs.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := consul.New(consul.Config{Address: kv.URL})
	if err != nil {
		t.Fatal(err)
	}
	own := &installation{store: store.New(c, "wadi", "one", hclog.NewNullLogger())}
	before, err := own.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	list := ownedJobs{client, own}.list
	if _, err := list(t.Context()); err != nil || !strings.Contains(filters[0], before) {
		t.Fatalf("asked for %q, %v, want jobs of %s", filters, err, before)
	}
	kv.Restore()
	if _, err := list(t.Context()); err != nil || strings.Contains(filters[1], before) {
		t.Errorf("asked for %q, %v, as if it were still %s", filters[1:], err, before)
	}
	kv.Fail(http.StatusInternalServerError)
	if _, err := list(t.Context()); err == nil || len(filters) > 2 {
		t.Errorf("asked for %q while the installation is not known, %v", filters[2:], err)
	}
}

// What the sweeper reads does not count as read by the controller, which would then write
// over what it has not read.
func TestSweeper_ReadsForItself(t *testing.T) {
	term := unconnected(t).terms().newTerm(&consul.Term{})
	if any(term.sweeper.Store) == any(term.controller.Store) {
		t.Error("sweeper and controller have one writer")
	}
}
