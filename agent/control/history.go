package control

import (
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Bounds of the history.
const (
	historyLength = 200      // Of one revision.
	historyBytes  = 64 << 20 // Of all together.
	reasonLength  = 1 << 10  // Of one text.
)

// History keeps the latest scaling decisions of every revision. Equal decisions in a row
// are one, with a count. The oldest are dropped first, and each revision has at most an
// equal share of the bytes. The zero value is empty.
type History struct {
	MaxBytes int // About so many bytes are kept; 0: 64 MiB.

	mu    sync.Mutex
	kept  map[string]*revisionHistory // By revision; each has a last decision.
	bytes int                         // Of all.
}

// revisionHistory are the decisions about one revision, guarded by History.mu.
type revisionHistory struct {
	last        wadi.Decision
	explanation *scheduler.Explanation // Of last, while its reason has not been read; nil: it has.
	scratch     scheduler.Explanation  // What explanation points to.
	older       []wadi.Decision        // Oldest first.
	bytes       int
	forgotten   bool
}

// Add records a decision.
func (d *History) Add(dec wadi.Decision) { d.add(nil, &dec, nil) }

// add records a decision, which has a reason or an explanation, in its revision's history:
// k, if the caller has it already. It returns the history to pass next time.
func (d *History) add(k *revisionHistory, dec *wadi.Decision, why *scheduler.Explanation) *revisionHistory {
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
		k.set(dec, why, 1)
	case repeats(&k.last, dec):
		was = k.bytes
		k.bytes -= k.size()
		k.set(dec, why, k.last.Times+1)
	default:
		was = k.bytes
		k.explain()
		k.older = append(k.older, k.last)
		k.last.Readings = nil // They belong to the older decision now.
		k.set(dec, why, 1)
		k.trim(historyLength, historyBytes)
	}
	d.bytes += k.bytes - was
	if limit := d.maxBytes(); d.bytes > limit {
		d.trimAll(limit)
	}
	return k
}

// set makes a decision the last one.
func (k *revisionHistory) set(dec *wadi.Decision, why *scheduler.Explanation, times int) {
	readings := append(k.last.Readings[:0], dec.Readings...)
	k.last, k.explanation = *dec, nil
	k.last.Readings, k.last.Times = readings, times
	if dec.Reason == "" && why != nil {
		k.scratch = *why
		k.explanation = &k.scratch
	}
	k.last.Reason, k.last.WhyNot = truncate(k.last.Reason), truncate(k.last.WhyNot)
	k.bytes += k.size()
}

// explain writes the reason of the last decision.
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
	if d.MaxBytes == 0 {
		return historyBytes
	}
	return d.MaxBytes
}

// trimAll trims every revision to a little less than its share, so that it is seldom
// necessary.
func (d *History) trimAll(limit int) {
	share := limit / len(d.kept) * 9 / 10
	d.bytes = 0
	for _, k := range d.kept {
		k.trim(historyLength, share)
		d.bytes += k.bytes
	}
}

// trim drops the oldest decisions until at most length decisions and bytes bytes are
// left. The last decision stays.
func (k *revisionHistory) trim(length, bytes int) {
	drop := 0
	for ; drop < len(k.older) && (len(k.older)-drop >= length || k.bytes > bytes); drop++ {
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
		return strings.ToValidUTF8(text[:reasonLength], "") + "…" // It may end within a character.
	}
	return text
}

// repeats reports whether two decisions say the same but for the numbers behind them.
func repeats(a, b *wadi.Decision) bool {
	return a.Ready == b.Ready && a.Starting == b.Starting && a.Pulling == b.Pulling && a.Count == b.Count && a.Wanted == b.Wanted && a.Desired == b.Desired &&
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
