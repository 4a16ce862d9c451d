package store_test

import (
	"errors"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

// Gone is what neither its spec nor the index knows of. A leader drops that, and
// nothing else.
func TestLoad_GoneOnlyIfTheIndexSaysSo(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	submit(t, s, "hello", 1, 0)
	w := leader(t, s)
	f.Remove("wadi/spec/hello")
	if _, err := w.Load(t.Context(), "hello"); err == nil || errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("without a spec: got %v, want an error that is not ErrNotFound", err)
	}
	f.Remove("wadi/index/hello")
	if _, err := w.Load(t.Context(), "hello"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("gone: got %v, want ErrNotFound", err)
	}
}
