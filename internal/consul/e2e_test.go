//go:build e2e

package consul_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

func presence(c *consul.Client, name string) *consul.Presence {
	return &consul.Presence{
		Client:  c,
		Service: consul.AgentRegistration(name, "127.0.0.1", 4747, map[string]string{consul.MetaHTTP: "127.0.0.1:4747"}),
		Log:     hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Info, Output: os.Stderr}),
	}
}

// run starts a presence that ends with the test.
func run(t *testing.T, p *consul.Presence) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// patience bounds every wait: a loaded machine is slow.
const patience = 3 * time.Minute

func within(t *testing.T, what string, ch <-chan time.Time) time.Time {
	t.Helper()
	select {
	case at := <-ch:
		return at
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
		return time.Time{}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

func TestPresence_SurvivesARestartOfConsul(t *testing.T) {
	a := consultest.StartAgent(t, false)
	c := newClient(t, a.URL)
	p := presence(c, "one")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	there := func(n int) func() bool {
		return func() bool {
			is, err := c.Services(t.Context(), wadi.ServiceAgent)
			return err == nil && len(is) == n
		}
	}
	eventually(t, "registered", there(1))
	is, err := c.Services(t.Context(), wadi.ServiceAgent)
	if err != nil || is[0].Address != "127.0.0.1" || is[0].Port != 4747 || is[0].Meta[consul.MetaHTTP] != "127.0.0.1:4747" {
		t.Errorf("got %+v, %v", is, err)
	}
	a.Restart()
	eventually(t, "registered again", there(1))
	cancel()
	<-done
	eventually(t, "deregistered", there(0))
}

func TestPresence_ActivatorIsConnectNative(t *testing.T) {
	a := consultest.StartAgent(t, false)
	c := newClient(t, a.URL)
	p := presence(c, "one")
	p.Service = consul.ActivatorRegistrations("one", "127.0.0.1", 4749)[0]
	run(t, p)
	eventually(t, "in the mesh", func() bool {
		es, _, err := c.API().Health().Connect(wadi.ServiceActivator, "", true, nil)
		return err == nil && len(es) == 1 && es[0].Service.Port == 4749
	})
}

func TestEntries_CheckAndSet(t *testing.T) {
	a := consultest.StartAgent(t, false)
	c := newClient(t, a.URL)
	ctx := t.Context()
	if _, err := c.Entry(ctx, api.ServiceDefaults, "hello"); !errors.Is(err, wadi.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	e := &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "hello", Protocol: "http"}
	if err := c.SetEntry(ctx, e, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.SetEntry(ctx, e, 0); err != nil {
		t.Errorf("the same again: %v", err)
	}
	other := &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "hello", Protocol: "grpc"}
	if err := c.SetEntry(ctx, other, 0); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("created over another: got %v, want ErrConflict", err)
	}
	got, err := c.Entry(ctx, api.ServiceDefaults, "hello")
	if err != nil {
		t.Fatal(err)
	}
	e.Protocol = "http2"
	if err := c.SetEntry(ctx, e, got.GetModifyIndex()); err != nil {
		t.Errorf("at its index: %v", err)
	}
	if err := c.DeleteEntry(ctx, api.ServiceDefaults, "hello", got.GetModifyIndex()); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("delete at a stale index: got %v, want ErrConflict", err)
	}
	if got, err = c.Entry(ctx, api.ServiceDefaults, "hello"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // The second time there is nothing to delete.
		if err := c.DeleteEntry(ctx, api.ServiceDefaults, "hello", got.GetModifyIndex()); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if es, err := c.Entries(ctx, api.ServiceDefaults); err != nil || len(es) != 0 {
		t.Errorf("got %v, %v; want none", es, err)
	}
}

func TestTxn_RealBounds(t *testing.T) {
	a := consultest.StartAgent(t, false)
	c := newClient(t, a.URL)
	full := make([]consul.Op, consul.MaxTxnOps)
	for i := range full {
		full[i] = consul.Op{Verb: consul.Set, Key: fmt.Sprintf("many/%d", i), Value: []byte("x")}
	}
	large := bytes.Repeat([]byte{0xff}, (consul.MaxTxnBytes-200)/4*3)
	for name, ops := range map[string][]consul.Op{
		"operations": full,
		"bytes":      {{Verb: consul.Set, Key: "a", Value: large}},
	} {
		if _, err := c.Txn(t.Context(), ops); err != nil {
			t.Errorf("%s, as many as may be: %v", name, err)
		}
	}
	got, err := c.Get(t.Context(), "a")
	if err != nil || !bytes.Equal(got.Value, large) {
		t.Errorf("read %d bytes, %v; want %d", len(got.Value), err, len(large))
	}
}

func TestTxn_RealErrors(t *testing.T) {
	a := consultest.StartAgent(t, false)
	c := newClient(t, a.URL)
	if _, err := c.Txn(t.Context(), []consul.Op{
		{Verb: consul.Set, Key: "there"}, {Verb: consul.DeleteCAS, Key: "not there", Index: 7},
	}); err != nil {
		t.Fatal(err)
	}
	for name, op := range map[string]consul.Op{
		"stale set":    {Verb: consul.CAS, Key: "a", Index: 7},
		"exists":       {Verb: consul.CAS, Key: "there"},
		"stale delete": {Verb: consul.DeleteCAS, Key: "there", Index: 7},
		"missing":      {Verb: consul.MustExist, Key: "a"},
	} {
		_, err := c.Txn(t.Context(), []consul.Op{{Verb: consul.Set, Key: "other"}, op})
		var te *consul.TxnError
		if !errors.As(err, &te) || !errors.Is(err, wadi.ErrConflict) || te.Ops[0] != 1 {
			t.Errorf("%s: got %v, want a conflict of operation 1", name, err)
		}
	}
	if ps, err := c.List(t.Context(), "other"); err != nil || len(ps) != 0 {
		t.Errorf("got %v, %v; want nothing written", ps, err)
	}
	if self, err := c.Self(t.Context()); err != nil || self.Address != "127.0.0.1" || !strings.HasPrefix(self.Version, "1.") {
		t.Errorf("self: got %+v, %v", self, err)
	}
}
