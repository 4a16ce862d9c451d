package admission_test

import (
	"context"
	"errors"
	"testing"

	"github.com/wadi-run/wadi"
)

// While a registry is asked another submission of the same file may make the revision. It is
// not said then that nothing changed, with the revision before: the caller tries again.
func TestImages_AnotherSubmissionMeanwhile(t *testing.T) {
	b := newImageBench(t)
	b.submit(t, request(docker(web)))
	b.registries.Push(web, "v2")
	r := request(docker(web))
	r.Evaluate = func() (context.Context, error) { return t.Context(), nil }
	r.Pause = func() { b.submit(t, request(docker(web))) }
	if out, err := b.Submit(t.Context(), r); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("outcome %+v, %v; want a conflict", out, err)
	}
	if got := b.submit(t, request(docker(web))).Services[0]; got.NewRevision || got.Revision != "shop-00002" {
		t.Errorf("tried again: %+v", got)
	}
}
