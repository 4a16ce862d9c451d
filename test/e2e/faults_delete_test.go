//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// traces is what exists of a service.
type traces struct{ jobs, keys, entries, services []string }

func tracesOf(t *testing.T, name string) traces {
	t.Helper()
	var out traces
	managed := func(s string) bool {
		return s == name || strings.HasPrefix(s, name+"-") || strings.HasPrefix(s, name+"/")
	}
	jobs, _, err := stack.Nomad.Jobs().List(&nomad.QueryOptions{Namespace: "*"})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if managed(j.ID) {
			out.jobs = append(out.jobs, j.ID)
		}
	}
	keys, _, err := stack.Consul.KV().Keys("wadi/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if _, rest, ok := strings.Cut(strings.TrimPrefix(k, "wadi/"), "/"); ok && managed(rest) {
			out.keys = append(out.keys, k)
		}
	}
	for _, kind := range []string{
		consul.ServiceDefaults, consul.ServiceResolver, consul.ServiceSplitter, consul.ServiceRouter, consul.ServiceIntentions,
	} {
		all, _, err := stack.Consul.ConfigEntries().List(kind, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if managed(e.GetName()) {
				out.entries = append(out.entries, kind+" "+e.GetName())
			}
		}
	}
	services, _, err := stack.Consul.Catalog().Services(nil)
	if err != nil {
		t.Fatal(err)
	}
	for s := range services {
		if managed(s) {
			out.services = append(out.services, s)
		}
	}
	slices.Sort(out.services)
	return out
}

// A deleted service drains, and everything that it made is removed, and nothing else.
func TestFaults_Delete(t *testing.T) {
	t.Parallel()
	skipWithoutMesh(t)
	stack.Deploy(t, hello("bystander", options{mesh: true, window: "1h"}))
	for _, colour := range []string{"green", "red"} { // Two revisions.
		if err := stack.Agent.Apply(t.Context(), hello("doomed", options{mesh: true, window: "1h", env: map[string]string{"COLOUR": colour}})); err != nil {
			t.Fatal(err)
		}
	}
	harnesstest.WantStatus(t, stack.Get(t, "bystander", "/"), 200)
	for _, name := range []string{"bystander", "doomed"} {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			if b := tracesOf(t, name); len(b.jobs) == 0 || len(b.keys) < 5 || len(b.entries) < 3 || len(b.services) < 2 {
				return fmt.Errorf("%s has traces %+v before, want jobs, keys, entries and services", name, b)
			}
			return nil
		})
	}
	bystander := tracesOf(t, "bystander")
	strangers(t)

	// A request in flight completes.
	flight := make(chan harness.Response, 1)
	failed := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL("doomed", "/?stream=50&every=100ms"), nil)
		if err != nil {
			failed <- err
			return
		}
		res, err := stack.Client(t).Do(req)
		if err != nil {
			failed <- err
			return
		}
		close(began) // Its head has arrived.
		body, err := bodyOf(res)
		if err != nil {
			failed <- err
			return
		}
		flight <- harness.Response{Status: res.StatusCode, Body: body}
	}()
	select {
	case <-began:
	case err := <-failed:
		t.Fatal(err)
	}
	if err := stack.Agent.Delete(t.Context(), "doomed"); err != nil {
		t.Fatal(err)
	}
	select {
	case res := <-flight:
		if n := strings.Count(res.Body, "\n"); res.Status != 200 || n != 50 {
			t.Errorf("the request in flight: got status %d and %d lines, want 200 and 50", res.Status, n)
		}
	case err := <-failed:
		t.Errorf("the request in flight: %v", err)
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // Consul's catalog learns of it after Consul's agent.
		if left := tracesOf(t, "doomed"); len(left.jobs)+len(left.keys)+len(left.entries)+len(left.services) > 0 {
			return fmt.Errorf("got left %+v, want nothing", left)
		}
		return nil
	})
	harnesstest.WantStatus(t, stack.Get(t, "doomed", "/"), 404)
	wantStrangers(t)
	// Its keys may become more: its load is kept after its first requests.
	has := func(got, want []string) bool {
		return !slices.ContainsFunc(want, func(one string) bool { return !slices.Contains(got, one) })
	}
	if got := tracesOf(t, "bystander"); !slices.Equal(got.jobs, bystander.jobs) || !has(got.keys, bystander.keys) ||
		!slices.Equal(got.entries, bystander.entries) || !slices.Equal(got.services, bystander.services) {
		t.Errorf("another service: got %+v, want %+v as before", got, bystander)
	}
	harnesstest.WantStatus(t, stack.Get(t, "bystander", "/"), 200)
}

// strangers makes unmanaged objects whose names could be taken for the service's.
func strangers(t *testing.T) {
	t.Helper()
	job := nomad.NewServiceJob("dooomed-00001", "dooomed-00001", nomad.GlobalRegion, 50)
	job.AddDatacenter("dc1").AddTaskGroup(nomad.NewTaskGroup("none", 0).AddTask(nomad.NewTask("none", "raw_exec").SetConfig("command", "true")))
	if _, _, err := stack.Nomad.Jobs().Register(job, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.Consul.KV().Put(&consul.KVPair{Key: "other/doomed", Value: []byte("mine")}, nil); err != nil {
		t.Fatal(err)
	}
	entry := &consul.ServiceConfigEntry{Kind: consul.ServiceDefaults, Name: "dooomed", Protocol: "http"}
	if _, _, err := stack.Consul.ConfigEntries().Set(entry, nil); err != nil {
		t.Fatal(err)
	}
	if err := stack.Consul.Agent().ServiceRegister(&consul.AgentServiceRegistration{Name: "dooomed", Port: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _, err := stack.Nomad.Jobs().Deregister("dooomed-00001", true, nil)
		_, err2 := stack.Consul.KV().Delete("other/doomed", nil)
		_, err3 := stack.Consul.ConfigEntries().Delete(consul.ServiceDefaults, "dooomed", nil)
		err4 := stack.Consul.Agent().ServiceDeregister("dooomed")
		for _, err := range []error{err, err2, err3, err4} {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func wantStrangers(t *testing.T) {
	t.Helper()
	got := tracesOf(t, "dooomed")
	if !slices.Equal(got.jobs, []string{"dooomed-00001"}) || !slices.Equal(got.entries, []string{"service-defaults dooomed"}) ||
		!slices.Equal(got.services, []string{"dooomed"}) {
		t.Errorf("somebody else's: got %+v, want all of it as before", got)
	}
	if pair, _, err := stack.Consul.KV().Get("other/doomed", nil); err != nil || pair == nil || string(pair.Value) != "mine" {
		t.Errorf("somebody else's key: got %+v, %v", pair, err)
	}
}

// A name is free again when its service is gone, and the next service starts anew.
func TestFaults_DeletedAndSubmittedAgain(t *testing.T) {
	t.Parallel()
	for range 2 {
		sub, err := stack.Agent.Submit(t.Context(), hello("phoenix", options{}))
		if err != nil {
			t.Fatal(err)
		}
		if s := sub.Services[0]; s.Revision != "phoenix-00001" || s.Generation != 1 {
			t.Errorf("got revision %s, generation %d; want the first", s.Revision, s.Generation)
		}
		if err := stack.Agent.WaitReady(t.Context(), "phoenix", 1); err != nil {
			t.Fatal(err)
		}
		harnesstest.WantStatus(t, stack.Get(t, "phoenix", "/"), 200)
		if err := stack.Agent.Delete(t.Context(), "phoenix"); err != nil {
			t.Fatal(err)
		}
	}
}

func skipWithoutMesh(t *testing.T) {
	t.Helper()
	if !stack.Cluster.Bridge {
		t.Skip("no mesh on this machine: " + stack.Cluster.WhyNot)
	}
}

func bodyOf(res *http.Response) (string, error) {
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}
