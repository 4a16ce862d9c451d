package activator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func newQueue() *queue {
	return &queue{waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "waiting"})}
}

func order(w *queue) (out []string) {
	for w.Len() > 0 {
		q := w.next()
		w.dequeue(q)
		out = append(out, q.record.Service)
	}
	return out
}

func named(caller, name string) *request {
	return &request{queueKey: caller, record: &RequestRecord{Service: name}}
}

func TestQueue_CallersTakeTurns(t *testing.T) {
	w := newQueue()
	for _, name := range []string{"a1", "a2", "a3", "b1", "a4", "c1", "b2"} {
		w.enqueue(named(name[:1], name), false)
	}
	w.enqueue(named("c", "c0"), true) // It was granted before.
	want := []string{"c0", "a1", "b1", "c1", "a2", "b2", "a3", "a4"}
	if diff := cmp.Diff(want, order(w)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// Whatever comes and goes, each caller's requests are in order, and the largest caller
// is known.
func TestQueue_AnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	w := newQueue()
	model := map[string][]*request{}
	var all []*request
	gone := func(q *request) {
		model[q.queueKey] = slices.DeleteFunc(model[q.queueKey], func(o *request) bool { return o == q })
		all = slices.DeleteFunc(all, func(o *request) bool { return o == q })
	}
	for step := range 30_000 {
		switch n := rng.IntN(10); {
		case n < 5 && len(all) < 200 || len(all) == 0:
			q := named(fmt.Sprint(rng.IntN(8)), "")
			again := rng.IntN(10) == 0
			if w.enqueue(q, again); again {
				model[q.queueKey] = append([]*request{q}, model[q.queueKey]...)
			} else {
				model[q.queueKey] = append(model[q.queueKey], q)
			}
			all = append(all, q)
		case n < 8:
			q := w.next()
			if q != model[q.queueKey][0] {
				t.Fatalf("step %d: not the first of its caller", step)
			}
			w.dequeue(q)
			gone(q)
		default:
			q := all[rng.IntN(len(all))]
			w.withdraw(q)
			gone(q)
		}
		top, callers := 0, 0
		for _, qs := range model {
			if top = max(top, len(qs)); len(qs) > 0 {
				callers++
			}
		}
		if w.Len() != len(all) || w.longest != top || len(w.callers) != callers || w.turns.Len() != callers {
			t.Fatalf("step %d: %d wait of %d callers (%d turns), at most %d; want %d of %d, %d", step, w.Len(), len(w.callers), w.turns.Len(), w.longest, len(all), callers, top)
		}
		q := w.displaceable("0")
		if (q != nil) != (top >= len(model["0"])+2) {
			t.Fatalf("step %d: displaced %v with %d of at most %d", step, q, len(model["0"]), top)
		}
		if q != nil && (len(model[q.queueKey]) != top || q != model[q.queueKey][top-1]) {
			t.Fatalf("step %d: displaced is not the last of the largest caller", step)
		}
	}
}
