package outcomes

import (
	"time"
	"unsafe"

	"github.com/wadi-run/wadi"
)

// revision is what is kept of one revision. Times count from the keeper's begin.
type revision struct {
	from    time.Duration // What was before is not known.
	steps   []step        // Those with requests, oldest first.
	bytes   int           // Of steps.
	changes []change      // Of the number of instances that run, oldest first.
}

// step is what was reported in a span of time.
type step struct {
	begin, end time.Duration
	packed     []byte
}

func (s *step) size() int { return int(unsafe.Sizeof(*s)) + cap(s.packed) }

// spans are how long steps are, by their age: 217 in a day.
var spans = [...]struct{ upTo, span time.Duration }{
	{2 * time.Minute, 5 * time.Second},
	{15 * time.Minute, 15 * time.Second},
	{2 * time.Hour, 2 * time.Minute},
	{24 * time.Hour, 15 * time.Minute},
}

// spanAt is the span of steps that ended so long ago; 0: they are dropped.
func spanAt(age time.Duration) time.Duration {
	for _, s := range spans {
		if age < s.upTo {
			return s.span
		}
	}
	return 0
}

// add counts o at a time.
func (r *revision) add(o wadi.Outcomes, at time.Duration, scratch *tally) {
	const span = 5 * time.Second
	begin := at.Truncate(span)
	last := len(r.steps) - 1
	scratch.reset()
	if last >= 0 && begin < r.steps[last].end { // Also if at is before it: clocks of arrival do not go back by more.
		scratch.unpack(r.steps[last].packed)
	} else {
		r.compact(at, scratch)
		scratch.reset()
		r.steps = append(r.steps, step{begin: begin, end: begin + span})
		last = len(r.steps) - 1
		r.bytes += r.steps[last].size()
	}
	scratch.add(o)
	s := &r.steps[last]
	r.bytes -= s.size()
	s.packed = scratch.pack(s.packed[:0])
	r.bytes += s.size()
}

// compact merges steps that have become old, and drops those that are too old.
func (r *revision) compact(now time.Duration, scratch *tally) {
	kept := r.steps[:0]
	r.bytes = 0
	for _, s := range r.steps {
		span := spanAt(now - s.end)
		if span == 0 {
			r.from = max(r.from, s.end)
			continue
		}
		if n := len(kept); n > 0 && kept[n-1].begin.Truncate(span) == s.begin.Truncate(span) {
			prev := &kept[n-1]
			scratch.reset()
			scratch.unpack(prev.packed)
			scratch.unpack(s.packed)
			r.bytes -= prev.size()
			prev.end, prev.packed = s.end, scratch.pack(nil)
			r.bytes += prev.size()
			continue
		}
		r.bytes += s.size()
		kept = append(kept, s)
	}
	clear(r.steps[len(kept):])
	if len(kept) == 0 {
		kept = nil
	}
	r.steps = kept
}

// trim drops the oldest steps until at most bytes are left.
func (r *revision) trim(bytes int) {
	drop := 0
	for ; drop < len(r.steps)-1 && r.bytes > bytes; drop++ {
		r.bytes -= r.steps[drop].size()
		r.from = max(r.from, r.steps[drop].end)
	}
	if drop > 0 {
		r.steps = append([]step(nil), r.steps[drop:]...)
	}
}

// sum adds the steps that began at from or later.
func (r *revision) sum(from time.Duration, into *tally) {
	for i := len(r.steps) - 1; i >= 0 && r.steps[i].begin >= from; i-- {
		into.unpack(r.steps[i].packed)
	}
}

// change is a change of the number of instances that run.
type change struct {
	at time.Duration
	n  int
}

func (r *revision) setRunning(n int, at time.Duration) {
	last := len(r.changes) - 1
	switch {
	case last < 0 && n == 0, last >= 0 && r.changes[last].n == n:
		return
	case last >= maxChanges-1:
		r.changes = append([]change(nil), r.changes[maxChanges/2:]...)
	}
	r.changes = append(r.changes, change{at, n})
}

// ran is how many seconds instances ran from a time until another.
func (r *revision) ran(from, until time.Duration) float64 {
	sum := 0.0
	for i, c := range r.changes {
		end := until
		if i+1 < len(r.changes) {
			end = min(until, r.changes[i+1].at)
		}
		if begin := max(from, c.at); end > begin {
			sum += float64(c.n) * (end - begin).Seconds()
		}
	}
	return sum
}
