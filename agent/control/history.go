package control

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Bounds of the decisions that are remembered.
const (
	historyLength = 200      // Of one revision.
	historyBytes  = 64 << 20 // Of all together.
	reasonLength  = 1 << 10  // Of one text.
)

// History keeps the latest scaling decisions of every revision. Equal ones in
// a row are one, with a count. The oldest make room: each revision has at most an
// equal share of what all may take.
type History struct {
	mu    sync.Mutex
	kept  map[string]*revisionHistory // By revision; each has a last one.
	bytes int                         // Of all.
	limit int                         // 0: historyBytes.
}

// revisionHistory are the decisions about one revision, guarded by Decisions.mu.
type revisionHistory struct {
	last        wadi.Decision
	explanation *scheduler.Explanation // Of the last one, if its reason has not been read yet; nil: it has.
	scratch     scheduler.Explanation  // For words.
	older       []wadi.Decision        // Oldest first.
	bytes       int
	forgotten   bool // Forgotten.
}

// NewDecisions keeps no more than about so many bytes of decisions; 0 is 64 MiB.
func NewDecisions(limit int) *History { return &History{limit: limit} }

// Add records a decision.
func (d *History) Add(dec wadi.Decision) { d.add(nil, &dec, nil) }

// add records a decision, which has a reason or words that tell it, among those that
// are kept of its revision: k if that is known. It returns what is known next time.
func (d *History) add(k *revisionHistory, dec *wadi.Decision, words *scheduler.Explanation) *revisionHistory {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k == nil {
		k = d.kept[dec.Revision]
	}
	was := 0
	switch {
	case k != nil && k.forgotten:
		return nil
	case k == nil:
		k = &revisionHistory{}
		if d.kept == nil {
			d.kept = map[string]*revisionHistory{}
		}
		d.kept[dec.Revision] = k
		k.set(dec, words, 1)
	case repeats(&k.last, dec):
		was = k.bytes
		k.bytes -= k.size()
		k.set(dec, words, k.last.Times+1)
	default:
		was = k.bytes
		k.explain()
		k.older = append(k.older, k.last)
		k.last.Readings = nil // They are the older one's now.
		k.set(dec, words, 1)
		k.trim(historyLength, historyBytes)
	}
	d.bytes += k.bytes - was
	if limit := d.maxBytes(); d.bytes > limit {
		d.trimAll(limit)
	}
	return k
}

// set makes a decision the last one.
func (k *revisionHistory) set(dec *wadi.Decision, words *scheduler.Explanation, times int) {
	readings := append(k.last.Readings[:0], dec.Readings...)
	k.last, k.explanation = *dec, nil
	k.last.Readings, k.last.Times = readings, times
	if dec.Reason == "" && words != nil {
		k.scratch = *words
		k.explanation = &k.scratch
	}
	k.last.Reason, k.last.WhyNot = truncate(k.last.Reason), truncate(k.last.WhyNot)
	k.bytes += k.size()
}

// explain puts the reason of the last decision together.
func (k *revisionHistory) explain() {
	if k.explanation == nil {
		return
	}
	k.bytes -= k.size()
	k.last.Reason, k.explanation = truncate(k.explanation.String()), nil
	k.bytes += k.size()
}

// size is about how many bytes the last decision takes.
func (k *revisionHistory) size() int { return size(&k.last) + int(unsafe.Sizeof(k.scratch)) }

func (d *History) maxBytes() int {
	if d.limit == 0 {
		return historyBytes
	}
	return d.limit
}

// trimAll trims every revision to its share, and to a little less, so that it is
// seldom done.
func (d *History) trimAll(limit int) {
	share := limit / len(d.kept) * 9 / 10
	d.bytes = 0
	for _, k := range d.kept {
		k.trim(historyLength, share)
		d.bytes += k.bytes
	}
}

// trim forgets the oldest until no more than so many, and so many bytes, are left;
// the last one stays.
func (k *revisionHistory) trim(most, bytes int) {
	drop := 0
	for ; drop < len(k.older) && (len(k.older)-drop >= most || k.bytes > bytes); drop++ {
		k.bytes -= size(&k.older[drop])
	}
	if drop > 0 {
		k.older = slices.Clone(k.older[drop:])
	}
}

// size is about how many bytes a decision takes.
func size(d *wadi.Decision) int {
	return int(unsafe.Sizeof(*d)) + len(d.Reason) + len(d.WhyNot) + len(d.Readings)*int(unsafe.Sizeof(wadi.Reading{}))
}

func truncate(text string) string {
	if len(text) > reasonLength {
		return text[:reasonLength] + "…"
	}
	return text
}

// repeats reports whether two decisions say the same but for the numbers behind them.
func repeats(a, b *wadi.Decision) bool {
	return a.Ready == b.Ready && a.Starting == b.Starting && a.Count == b.Count && a.Wanted == b.Wanted && a.Desired == b.Desired &&
		a.Metric == b.Metric && a.Panicking == b.Panicking && a.Valid == b.Valid && a.Rule == b.Rule && a.Executed == b.Executed &&
		(a.WhyNot == "") == (b.WhyNot == "") && equalBounds(a.Floor, b.Floor) && equalBounds(a.Ceiling, b.Ceiling)
}

func equalBounds(a, b wadi.Bound) bool { return a.Count == b.Count && a.By == b.By && a.Name == b.Name }

// Of returns the decisions of a revision, oldest first.
func (d *History) Of(revision string) []wadi.Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kept[revision]
	if k == nil {
		return nil
	}
	return append(slices.Clone(k.older), d.explained(k))
}

// Last returns the latest decision of a revision.
func (d *History) Last(revision string) (wadi.Decision, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kept[revision]
	if k == nil {
		return wadi.Decision{}, false
	}
	return d.explained(k), true
}

// explained is the last decision of a revision with its reason.
func (d *History) explained(k *revisionHistory) wadi.Decision {
	d.bytes -= k.bytes
	k.explain()
	d.bytes += k.bytes
	last := k.last
	last.Readings = slices.Clone(last.Readings)
	return last
}

// Forget drops what is kept of revisions.
func (d *History) Forget(revisions []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range revisions {
		if k := d.kept[r]; k != nil {
			d.bytes -= k.bytes
			k.forgotten = true
			delete(d.kept, r)
		}
	}
}

// Clear drops all that is kept.
func (d *History) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.kept {
		k.forgotten = true
	}
	clear(d.kept)
	d.bytes = 0
}
