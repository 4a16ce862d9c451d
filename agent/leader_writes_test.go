package agent

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// deposed is the term of an agent that no longer leads. It may not know that yet.
type deposed struct{ knows bool }

func (d deposed) Certain() error {
	if d.knows {
		return wadi.ErrNotLeading
	}
	return nil
}

func (d deposed) Confirm(context.Context) error { return wadi.ErrNotLeading }

// reached counts what gets through to Nomad and to Consul's entries, and the orders to instances.
type reached struct {
	leaderJobs
	configEntries
	n, orders int
}

func (r *reached) Scale(context.Context, string, string, int, uint64, string) (uint64, error) {
	r.n++
	return 0, nil
}

func (r *reached) Register(context.Context, json.RawMessage, int, uint64) (uint64, error) {
	r.n++
	return 0, nil
}
func (r *reached) Stop(context.Context, string, string) error  { r.n++; return nil }
func (r *reached) Purge(context.Context, string, string) error { r.n++; return nil }

func (r *reached) SetEntry(context.Context, api.ConfigEntry, uint64) error   { r.n++; return nil }
func (r *reached) DeleteEntry(context.Context, string, string, uint64) error { r.n++; return nil }

func (r *reached) SendOrder(context.Context, wadi.Endpoint, wadi.Order) (wadi.OrderAnswer, error) {
	r.orders++
	return wadi.OrderAnswer{}, nil
}

// An agent that may not lead can't lower a count: an instance that it ordered to leave would
// only refuse its callers.
func TestLeader_DeposedOrdersNoInstanceToLeave(t *testing.T) {
	r := &reached{}
	o := leaderOrders{r, deposed{knows: true}}
	for _, order := range []wadi.Order{wadi.OrderGo, wadi.OrderGoIfIdle} {
		if _, err := o.SendOrder(t.Context(), wadi.Endpoint{}, order); !errors.Is(err, wadi.ErrNotLeading) || r.orders != 0 {
			t.Errorf("%s: %v, and %d orders got through", order, err, r.orders)
		}
	}
	if _, err := o.SendOrder(t.Context(), wadi.Endpoint{}, wadi.OrderStay); err != nil || r.orders != 1 {
		t.Errorf("stay: %v", err)
	}
	if _, err := (leaderOrders{r, deposed{}}).SendOrder(t.Context(), wadi.Endpoint{}, wadi.OrderGo); err != nil || r.orders != 2 {
		t.Errorf("of a leader: %v", err)
	}
}

// seen are jobs as the event stream knows them.
type seen map[string]scheduler.JobState

func (s seen) Job(_, id string) scheduler.JobState                      { return s[id] }
func (s seen) Endpoints(_, _ string) ([]wadi.Endpoint, <-chan struct{}) { return nil, nil }
func (s seen) Diagnosis(_, _ string) wadi.Diagnosis                     { return wadi.Diagnosis{} }

func scaled(n leaderNomad, count int, index uint64) error {
	_, err := n.Scale(context.Background(), "default", "hello-00001", count, index, "for the test")
	return err
}

// A deposed leader makes no write that is outside the lock's transactions.
func TestLeader_DeposedChangesNothing(t *testing.T) {
	ctx := t.Context()
	for _, term := range []deposed{{knows: true}, {knows: false}} {
		r := &reached{}
		n, e := leaderNomad{r, term, seen{"hello-00001": {Exists: true, Count: 1, Index: 7}}}, leaderEntries{r, term}
		_, registered := n.Register(ctx, nil, 1, 7)
		calls := map[string]error{
			"register": registered, "stop": n.Stop(ctx, "default", "hello-00001"), "purge": n.Purge(ctx, "default", "hello-00001"),
			"scale down": scaled(n, 0, 7), "scale in a later state": scaled(n, 2, 8), "scale what is not known": scaled(n, 0, 0),
			"set entry": e.SetEntry(ctx, nil, 7), "delete entry": e.DeleteEntry(ctx, api.ServiceResolver, "hello", 7),
		}
		if term.knows {
			calls["scale up"] = scaled(n, 2, 7)
		}
		for what, err := range calls {
			if !errors.Is(err, wadi.ErrNotLeading) {
				t.Errorf("%s: got %v, want ErrNotLeading", what, err)
			}
		}
		if r.n != 0 {
			t.Errorf("%d calls got through, want none", r.n)
		}
	}
}
