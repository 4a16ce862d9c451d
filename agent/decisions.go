package agent

import (
	"slices"
	"sync"

	"github.com/wadi-run/wadi"
)

// decisionsKept bounds the decisions that are remembered of one revision.
const decisionsKept = 200

// Decisions keeps the latest scaling decisions of every revision. Equal ones in
// a row are one, with a count.
type Decisions struct {
	mu   sync.Mutex
	kept map[string][]wadi.Decision // By revision, oldest first.
}

// Add records a decision.
func (d *Decisions) Add(dec wadi.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil {
		d.kept = map[string][]wadi.Decision{}
	}
	dec.Times = 1
	list := d.kept[dec.Revision]
	if n := len(list); n > 0 && same(list[n-1], dec) {
		dec.Times += list[n-1].Times
		list[n-1] = dec
		return
	}
	list = append(list, dec)
	if len(list) > decisionsKept {
		list = slices.Clone(list[len(list)-decisionsKept:])
	}
	d.kept[dec.Revision] = list
}

// same reports whether two decisions say the same but for the numbers behind them.
func same(a, b wadi.Decision) bool {
	return a.Ready == b.Ready && a.Count == b.Count && a.Wanted == b.Wanted && a.Desired == b.Desired &&
		a.Panicking == b.Panicking && a.Valid == b.Valid && a.Rule == b.Rule && a.Carried == b.Carried && a.WhyNot == b.WhyNot
}

// Of returns the decisions of a revision, oldest first.
func (d *Decisions) Of(revision string) []wadi.Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.kept[revision])
}

// Last returns the latest decision of a revision.
func (d *Decisions) Last(revision string) (wadi.Decision, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.kept[revision]
	if len(list) == 0 {
		return wadi.Decision{}, false
	}
	return list[len(list)-1], true
}

// Forget drops what is kept of revisions that keep does not hold on to.
func (d *Decisions) Forget(keep func(revision string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for r := range d.kept {
		if !keep(r) {
			delete(d.kept, r)
		}
	}
}
