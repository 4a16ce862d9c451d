//go:build e2e

package agent

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/nomad/nomadtest"
	"github.com/wadi-run/wadi/internal/policies"
	"github.com/wadi-run/wadi/internal/store"
)

// On a real Nomad, an owned job whose service or revision is not stored is stopped; not a foreign job,
// nor one of another installation, nor one of a stored service.
func TestSweep_RealNomad(t *testing.T) {
	server, kv := nomadtest.Start(t), consultest.Start(t)
	server.Namespace("team")
	server.Allow("wadi", policies.Namespace(policies.Everywhere).String())
	client, err := nomad.New(nomad.Config{Address: server.URL, Token: server.Token("wadi")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	c, err := consul.New(consul.Config{Address: kv.URL})
	if err != nil {
		t.Fatal(err)
	}
	own := &installation{store: store.New(c, "wadi", "one", hclog.NewNullLogger())}
	name, err := own.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = own.store.Submit(t.Context(), []wadi.Submission{{Spec: wadi.Spec{Service: wadi.Service{Name: "stored", Namespace: "default"}, Latest: "stored-00001"}, NewRevision: &wadi.Revision{ID: "stored-00001"}}})
	if err != nil {
		t.Fatal(err)
	}

	meta := func(service, revision, installation string) map[string]string {
		return map[string]string{nomad.MetaService: service, nomad.MetaRevision: revision, nomad.MetaInstallation: installation}
	}
	server.Job("default", "orphan-00001", 1, meta("orphan", "orphan-00001", name))
	server.Job("team", "orphan-00002", 0, meta("orphan", "orphan-00002", name))
	server.Job("team", "stored-00001", 1, meta("stored", "stored-00001", name)) // Another service of that name.
	server.Job("default", "stored-00001", 1, meta("stored", "stored-00001", name))
	server.Job("default", "stored-00002", 1, meta("stored", "stored-00002", name)) // A revision that is not.
	server.Job("default", "theirs-00001", 1, meta("theirs", "theirs-00001", "another"))
	server.Job("default", "copy-00001", 1, meta("orphan", "orphan-00001", name))
	server.Job("default", "older-00001", 1, map[string]string{nomad.MetaService: "older", nomad.MetaRevision: "older-00001"})
	server.Job("default", "plain", 1, nil)

	s := &control.Sweeper{
		List: ownedJobs{client, own}.list, Services: func() *control.View { return &control.View{} }, Jobs: controlNomad{client},
		Store: own.store.Writer(consul.Lock{}), Events: &control.Events{}, Log: hclog.NewNullLogger(),
	}
	s.Every, s.Grace = 20*time.Millisecond, 500*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	defer func() { cancel(); <-done }()
	want := []string{"default/orphan-00001", "default/stored-00002", "team/orphan-00002", "team/stored-00001"}
	stopped := func() (all []string) {
		t.Helper()
		jobs, _, err := server.API.Jobs().List(&nomadapi.QueryOptions{Namespace: "*"})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.Stop {
				all = append(all, j.Namespace+"/"+j.ID)
			}
		}
		slices.Sort(all)
		return all
	}
	for late := time.Now().Add(3 * time.Minute); len(stopped()) < len(want) && time.Now().Before(late); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(s.Grace) // For what must not be stopped.
	if got := stopped(); !slices.Equal(got, want) {
		t.Errorf("stopped are %v, want %v", got, want)
	}
}
