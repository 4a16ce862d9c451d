//go:build e2e

package doctor_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// In a cluster in which all is well nothing fails, and the nodes were looked at.
func TestDoctor_AllIsWell(t *testing.T) {
	nodes := false
	for _, f := range doctor(t, stack.Agent) {
		if f.Level == "fail" || strings.HasSuffix(f.About, ": clocks") || strings.HasSuffix(f.About, ": left behind") {
			t.Errorf("got %+v", f)
		}
		nodes = nodes || f.Level == "ok" && strings.HasSuffix(f.About, ": nodes")
	}
	if !nodes {
		t.Errorf("nothing is told of nodes: %+v", doctor(t, stack.Agent))
	}
	leaveJob(t) // Found a minute later, at the earliest.
}

// A node that takes no jobs any more, and one that does again.
func TestDoctor_NoNode(t *testing.T) {
	all, _, err := stack.Nomad.Nodes().List(nil)
	harnesstest.Must(t, "list nodes", err)
	eligible := func(ctx context.Context, yes bool) {
		for _, n := range all {
			if n.NodePool == "default" {
				_, err := stack.Nomad.Nodes().ToggleEligibility(n.ID, yes, (&nomad.WriteOptions{}).WithContext(ctx))
				harnesstest.Must(t, "change the node", err)
			}
		}
	}
	eligible(t.Context(), false)
	t.Cleanup(func() { eligible(context.WithoutCancel(t.Context()), true) })
	finds(t, stack.Agent, "fail", ": nodes", "no node in the node pool default takes jobs")
	eligible(t.Context(), true)
	findsNot(t, stack.Agent, ": nodes", "no node")
}

// What Wadi wrote and no service has is found, in Consul and in Nomad, named in the agent's
// log alone, and no longer found when it is gone.
func TestDoctor_LeftBehind(t *testing.T) {
	c := stack.Consul
	_, err := c.KV().Put(&consul.KVPair{Key: "wadi/revision/ghost/ghost-00001", Value: []byte("x")}, nil)
	harnesstest.Must(t, "write a key", err)
	entry := &consul.ServiceConfigEntry{Kind: consul.ServiceDefaults, Name: "ghost-entry", Protocol: "http", Meta: map[string]string{"managed-by": "wadi", "wadi-service": "ghost-entry"}}
	_, _, err = c.ConfigEntries().Set(entry, nil)
	harnesstest.Must(t, "write an entry", err)
	foreign := &consul.ServiceConfigEntry{Kind: consul.ServiceDefaults, Name: "foreign-entry", Protocol: "http"}
	_, _, err = c.ConfigEntries().Set(foreign, nil)
	harnesstest.Must(t, "write a foreign entry", err)
	t.Cleanup(func() {
		_, _ = c.KV().Delete("wadi/revision/ghost/ghost-00001", nil) // Again, if the test has failed.
		_, _ = c.ConfigEntries().Delete(consul.ServiceDefaults, "ghost-entry", nil)
		_, _ = c.ConfigEntries().Delete(consul.ServiceDefaults, "foreign-entry", nil)
	})
	for _, what := range []string{"1 key below the prefix", "1 config entry in Consul"} {
		if f := finds(t, stack.Agent, "warn", ": left behind", what); strings.Contains(f.What+f.Remedy, "ghost") {
			t.Errorf("the report names it: %+v", f)
		}
	}
	log, err := os.ReadFile(stack.Agent.LogFile)
	harnesstest.Must(t, "read the log", err)
	for _, name := range []string{"wadi/revision/ghost/ghost-00001", "service-defaults ghost-entry"} {
		if strings.Count(string(log), name) != 1 {
			t.Errorf("the log has %q %d times", name, strings.Count(string(log), name))
		}
	}
	_, err = c.KV().Delete("wadi/revision/ghost/ghost-00001", nil)
	harnesstest.Must(t, "delete the key", err)
	_, err = c.ConfigEntries().Delete(consul.ServiceDefaults, "ghost-entry", nil)
	harnesstest.Must(t, "delete the entry", err)
	findsNot(t, stack.Agent, ": left behind", "below the prefix")
	findsNot(t, stack.Agent, ": left behind", "config entry")
}

// Settings of all Envoys that override Wadi's.
func TestDoctor_Overrides(t *testing.T) {
	e := &consul.ProxyConfigEntry{Kind: consul.ProxyDefaults, Name: consul.ProxyConfigGlobal, Config: map[string]any{"max_inbound_connections": 4096}}
	_, _, err := stack.Consul.ConfigEntries().Set(e, nil)
	harnesstest.Must(t, "write proxy-defaults", err)
	t.Cleanup(func() {
		_, _ = stack.Consul.ConfigEntries().Delete(consul.ProxyDefaults, consul.ProxyConfigGlobal, nil)
	})
	finds(t, stack.Agent, "warn", ": mesh", "proxy-defaults sets max_inbound_connections")
}

// The clocks of Nomad's agent and of a node are read from the real ones, an hour on.
func TestDoctor_Clocks(t *testing.T) {
	target, err := url.Parse(stack.Cluster.NomadAddr)
	harnesstest.Must(t, "parse the address", err)
	const on = time.Hour
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1, // Events at once.
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if at, err := http.ParseTime(r.Header.Get("Date")); err == nil { // An event stream has none.
				r.Header.Set("Date", at.Add(on).Format(http.TimeFormat))
			}
			return nil
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/client/stats" {
			proxy.ServeHTTP(w, r)
			return
		}
		var stats struct{ Timestamp int64 }
		if _, err := stack.Nomad.Raw().Query(r.URL.String(), &stats, (&nomad.QueryOptions{}).WithContext(r.Context())); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		stats.Timestamp += int64(on)
		_ = json.NewEncoder(w).Encode(stats) // It fails only if the agent is gone.
	}))
	t.Cleanup(s.Close)
	a, err := stack.NewAgent("wadi-late", "nomad {\n  address = \""+s.URL+"\"\n}\n")
	harnesstest.Must(t, "configure an agent", err)
	harnesstest.Must(t, "start an agent", a.Start(t.Context()))
	t.Cleanup(func() { _ = a.Stop(context.WithoutCancel(t.Context())) })
	harnesstest.Must(t, "wait for the agent", a.WaitLeader(t.Context()))
	finds(t, a, "fail", "wadi-late: clocks", "that of Nomad is at least 1h0m0s ahead")
	finds(t, a, "fail", "wadi-late: clocks", "nodes differ from the asking agent's, by ")
}
