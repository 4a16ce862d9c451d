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
	decisionsKept  = 200      // Of one revision.
	decisionsBytes = 64 << 20 // Of all together.
	reasonKept     = 1 << 10  // Of one text.
)

// Decisions keeps the latest scaling decisions of every revision. Equal ones in
// a row are one, with a count. The oldest make room: each revision has at most an
// equal share of what all may take.
type Decisions struct {
	mu    sync.Mutex
	kept  map[string]*kept // By revision; each has a last one.
	bytes int              // Of all.
	limit int              // 0: decisionsBytes.
}

// kept are the decisions about one revision, guarded by Decisions.mu.
type kept struct {
	last  wadi.Decision
	words *scheduler.Explanation // Of the last one, if its reason has not been read yet; nil: it has.
	room  scheduler.Explanation  // For words.
	older []wadi.Decision        // Oldest first.
	bytes int
	gone  bool // Forgotten.
}

// NewDecisions keeps no more than about so many bytes of decisions; 0 is 64 MiB.
func NewDecisions(limit int) *Decisions { return &Decisions{limit: limit} }

// Add records a decision.
func (d *Decisions) Add(dec wadi.Decision) { d.add(nil, &dec, nil) }

// add records a decision, which has a reason or words that tell it, among those that
// are kept of its revision: k if that is known. It returns what is known next time.
func (d *Decisions) add(k *kept, dec *wadi.Decision, words *scheduler.Explanation) *kept {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k == nil {
		k = d.kept[dec.Revision]
	}
	was := 0
	switch {
	case k != nil && k.gone:
		return nil
	case k == nil:
		k = &kept{}
		if d.kept == nil {
			d.kept = map[string]*kept{}
		}
		d.kept[dec.Revision] = k
		k.set(dec, words, 1)
	case same(&k.last, dec):
		was = k.bytes
		k.bytes -= k.size()
		k.set(dec, words, k.last.Times+1)
	default:
		was = k.bytes
		k.tell()
		k.older = append(k.older, k.last)
		k.last.Readings = nil // They are the older one's now.
		k.set(dec, words, 1)
		k.trim(decisionsKept, decisionsBytes)
	}
	d.bytes += k.bytes - was
	if limit := d.most(); d.bytes > limit {
		d.makeRoom(limit)
	}
	return k
}

// set makes a decision the last one.
func (k *kept) set(dec *wadi.Decision, words *scheduler.Explanation, times int) {
	readings := append(k.last.Readings[:0], dec.Readings...)
	k.last, k.words = *dec, nil
	k.last.Readings, k.last.Times = readings, times
	if dec.Reason == "" && words != nil {
		k.room = *words
		k.words = &k.room
	}
	k.last.Reason, k.last.WhyNot = cut(k.last.Reason), cut(k.last.WhyNot)
	k.bytes += k.size()
}

// tell puts the reason of the last decision together.
func (k *kept) tell() {
	if k.words == nil {
		return
	}
	k.bytes -= k.size()
	k.last.Reason, k.words = cut(k.words.String()), nil
	k.bytes += k.size()
}

// size is about how many bytes the last decision takes.
func (k *kept) size() int { return size(&k.last) + int(unsafe.Sizeof(k.room)) }

func (d *Decisions) most() int {
	if d.limit == 0 {
		return decisionsBytes
	}
	return d.limit
}

// makeRoom trims every revision to its share, and to a little less, so that it is
// seldom done.
func (d *Decisions) makeRoom(limit int) {
	share := limit / len(d.kept) * 9 / 10
	d.bytes = 0
	for _, k := range d.kept {
		k.trim(decisionsKept, share)
		d.bytes += k.bytes
	}
}

// trim forgets the oldest until no more than so many, and so many bytes, are left;
// the last one stays.
func (k *kept) trim(most, bytes int) {
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

func cut(text string) string {
	if len(text) > reasonKept {
		return text[:reasonKept] + "…"
	}
	return text
}

// same reports whether two decisions say the same but for the numbers behind them.
func same(a, b *wadi.Decision) bool {
	return a.Ready == b.Ready && a.Starting == b.Starting && a.Count == b.Count && a.Wanted == b.Wanted && a.Desired == b.Desired &&
		a.Metric == b.Metric && a.Panicking == b.Panicking && a.Valid == b.Valid && a.Rule == b.Rule && a.Executed == b.Executed &&
		(a.WhyNot == "") == (b.WhyNot == "") && alike(a.Floor, b.Floor) && alike(a.Ceiling, b.Ceiling)
}

func alike(a, b wadi.Bound) bool { return a.Count == b.Count && a.By == b.By && a.Name == b.Name }

// Of returns the decisions of a revision, oldest first.
func (d *Decisions) Of(revision string) []wadi.Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kept[revision]
	if k == nil {
		return nil
	}
	return append(slices.Clone(k.older), d.told(k))
}

// Last returns the latest decision of a revision.
func (d *Decisions) Last(revision string) (wadi.Decision, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kept[revision]
	if k == nil {
		return wadi.Decision{}, false
	}
	return d.told(k), true
}

// told is the last decision of a revision with its reason.
func (d *Decisions) told(k *kept) wadi.Decision {
	d.bytes -= k.bytes
	k.tell()
	d.bytes += k.bytes
	last := k.last
	last.Readings = slices.Clone(last.Readings)
	return last
}

// Forget drops what is kept of revisions.
func (d *Decisions) Forget(revisions []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range revisions {
		if k := d.kept[r]; k != nil {
			d.bytes -= k.bytes
			k.gone = true
			delete(d.kept, r)
		}
	}
}

// Clear drops all that is kept.
func (d *Decisions) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.kept {
		k.gone = true
	}
	clear(d.kept)
	d.bytes = 0
}
