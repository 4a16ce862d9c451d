package network_test

import (
	"context"
	"errors"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network"
)

// layer answers as a test sets it.
type layer struct {
	ok       bool
	why      string
	err      error
	applied  *int
	readBack error
}

func (l layer) Apply(context.Context, wadi.Route) error { *l.applied++; return l.err }

func (l layer) Remove(context.Context, string) error { *l.applied--; return l.err }

func (l layer) Programmed(context.Context, wadi.Route) (bool, string, error) {
	return l.ok, l.why, l.readBack
}

func TestLayers_AreAllTried(t *testing.T) {
	n, broken := 0, errors.New("broken")
	ls := network.Layers{layer{err: broken, applied: &n}, layer{applied: &n}}
	if err := ls.Apply(t.Context(), wadi.Route{}); !errors.Is(err, broken) || n != 2 {
		t.Errorf("%d applied (%v), want 2, and the error", n, err)
	}
	if err := ls.Remove(t.Context(), "hello"); !errors.Is(err, broken) || n != 0 {
		t.Errorf("%d left (%v), want 0, and the error", n, err)
	}
}

func TestLayers_Programmed(t *testing.T) {
	for name, tt := range map[string]struct {
		layers network.Layers
		ok     bool
		why    string
	}{
		"none":                  {nil, true, ""},
		"all":                   {network.Layers{layer{ok: true}, layer{ok: true}}, true, ""},
		"one not":               {network.Layers{layer{ok: true}, layer{why: "no"}}, false, "no"},
		"one not, without word": {network.Layers{layer{}, layer{ok: true}}, false, ""},
		"with a remark":         {network.Layers{layer{ok: true, why: "a host is held"}, layer{ok: true}}, true, "a host is held"},
		"both":                  {network.Layers{layer{why: "no"}, layer{ok: true, why: "a host is held"}}, false, "no; a host is held"},
	} {
		ok, why, err := tt.layers.Programmed(t.Context(), wadi.Route{})
		if ok != tt.ok || why != tt.why || err != nil {
			t.Errorf("%s: got %v %q %v, want %v %q", name, ok, why, err, tt.ok, tt.why)
		}
	}
	gone := errors.New("gone")
	ok, _, err := network.Layers{layer{ok: true, readBack: gone}}.Programmed(t.Context(), wadi.Route{})
	if ok || !errors.Is(err, gone) {
		t.Errorf("got %v %v, want the error", ok, err)
	}
}
