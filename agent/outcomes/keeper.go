// Package outcomes keeps what the requests of each revision were answered, for a day.
//
// It promises that counters of sources that restart, go or come back are neither lost nor
// counted twice, that what is not known is told apart from what did not happen, and that memory is
// bounded: a revision without requests costs nothing. What an instance answered between its
// last report and its end is lost: a second of it, as a rule. It refuses to judge: package
// scheduler/gate does.
package outcomes

import (
	"fmt"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	defaultMaxBytes = 64 << 20
	// goneFor is how long the counters of a source that has gone are remembered, in case it
	// comes back.
	goneFor = time.Hour
	// maxChanges bounds the changes of a revision's count of instances that are kept.
	maxChanges = 512
	sweepEvery = time.Minute
	// justBefore is by how much a time may be before the keeper's begin and count as that: other
	// parts of a term begin a little earlier.
	justBefore = 5 * time.Second

	// Kept is for how long outcomes are kept for certain, unless their memory is full.
	Kept = 23 * time.Hour
)

// Keeper keeps the outcomes of one term of leadership. Make it with New.
type Keeper struct {
	MaxBytes int // About so many bytes of outcomes are kept; 0: 64 MiB. Then each revision keeps an equal share.

	// Silent names a source of a revision's outcomes that does not answer now; empty if all
	// answer. It may be nil.
	Silent func(revision string) string

	began time.Time

	mu        sync.Mutex
	sources   map[string]*source
	unknown   map[string]string // Sources that report no outcomes, as they are of an older Wadi: what they are about.
	revisions map[string]*revision
	bytes     int // Of all steps.
	swept     time.Time
	scratch   tally
}

// source is what an instance or an activator has reported last.
type source struct {
	boot  string
	last  map[string]wadi.Outcomes // By revision; without those that are zero.
	about string                   // The revision of an instance; empty: all, as it is an activator.
	gone  time.Time                // Zero: it is followed.
}

// New returns a keeper that begins at now.
func New(now time.Time) *Keeper {
	return &Keeper{began: now, sources: map[string]*source{}, unknown: map[string]string{}, revisions: map[string]*revision{}}
}

// Began is the time since when outcomes are kept: what was before is not known.
func (k *Keeper) Began() time.Time { return k.began }

// Report takes an answer of a source at a time: its statistics, one for each revision that it
// had requests for. about is the revision of an instance, and empty for an activator, which
// forgets the statistics of a revision that it does not serve any more.
func (k *Keeper) Report(id, about string, stats []wadi.Stats, at time.Time) {
	if len(stats) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	src := k.sources[id]
	boot, up := stats[0].Boot, time.Duration(stats[0].Now)*time.Second
	fresh := src != nil || !at.Add(-up).Before(k.began) // All that it counted was since it was heard last, or since this term began.
	if src == nil || src.boot != boot {
		src = &source{boot: boot, about: about}
		k.sources[id] = src
	}
	src.forgetBut(stats)
	src.gone = time.Time{}
	delete(k.unknown, id)
	for i := range stats {
		st := &stats[i]
		if st.Outcomes == nil {
			k.unknown[id] = about
			continue
		}
		if st.Outcomes.IsZero() {
			continue
		}
		if fresh {
			last := src.last[st.Revision]
			if st.Outcomes.Less(last) { // Forgotten, and served again since.
				last = wadi.Outcomes{}
			}
			k.add(st.Revision, st.Outcomes.Sub(last), at)
		} // Else it counted some of it before this term, and nothing tells how much.
		if src.last == nil {
			src.last = make(map[string]wadi.Outcomes, 1)
		}
		src.last[st.Revision] = *st.Outcomes
	}
}

// forgetBut forgets the revisions that are not in stats: they begin at zero if they come back.
func (s *source) forgetBut(stats []wadi.Stats) {
	same := 0
	for i := range stats {
		if _, known := s.last[stats[i].Revision]; known {
			same++
		}
	}
	if same == len(s.last) { // As nearly always.
		return
	}
	kept := make(map[string]wadi.Outcomes, same)
	for i := range stats {
		if o, known := s.last[stats[i].Revision]; known {
			kept[stats[i].Revision] = o
		}
	}
	s.last = kept
}

// Gone notes that a source is followed no longer.
func (k *Keeper) Gone(id string, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if src := k.sources[id]; src != nil {
		src.gone = at
	}
	delete(k.unknown, id)
}

// Set replaces the revisions about which outcomes are kept, with the number of instances of
// each that run.
func (k *Keeper) Set(running map[string]int, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, n := range running {
		if n > 0 || k.revisions[id] != nil {
			k.revision(id).setRunning(n, k.offset(now))
		}
	}
	for id, r := range k.revisions {
		if _, listed := running[id]; !listed {
			k.bytes -= r.bytes
			delete(k.revisions, id)
		}
	}
	if now.Sub(k.swept) >= sweepEvery {
		k.swept = now
		k.sweep(now)
	}
}

// sweep forgets what is too old.
func (k *Keeper) sweep(now time.Time) {
	for id, src := range k.sources {
		if !src.gone.IsZero() && now.Sub(src.gone) > goneFor {
			delete(k.sources, id)
			continue
		}
		for rev := range src.last {
			if k.revisions[rev] == nil && src.about == "" {
				delete(src.last, rev)
			}
		}
	}
	for _, r := range k.revisions {
		was := r.bytes
		r.compact(k.offset(now), &k.scratch)
		k.bytes += r.bytes - was
	}
}

// Reading is what is known of a revision since a time.
type Reading struct {
	Outcomes wadi.Outcomes
	From     time.Time // Since when Outcomes count: the time asked for, or a little later; much later if not all is known.
	Unknown  string    // Why not all is known; empty: all is.

	// Unreported says which source never reports outcomes; empty: none. That does not change
	// before it is replaced, so waiting for it is in vain.
	Unreported string

	InstanceSeconds float64 // Time that instances ran, summed up over them.
}

// Since is what a revision answered since t; whole if all of it is known. Requests in the step
// of time that contains t are left out: it lasts 5 s in the last two minutes, and about a tenth
// of its age before that. t has to be after [Keeper.Began], and not longer ago than [Kept]. What
// a source that is older than the term answered in it before its first report is left out.
func (k *Keeper) Since(revision string, t time.Time) (o wadi.Outcomes, whole bool) {
	r := k.Read(revision, t, t)
	return r.Outcomes, r.Unknown == "" && r.Unreported == ""
}

// Read is what is known at now of a revision since t.
func (k *Keeper) Read(revision string, t, now time.Time) Reading {
	silent := ""
	if k.Silent != nil {
		silent = k.Silent(revision) // Before the lock: it has a lock of its own.
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known, from := time.Duration(0), k.offset(t)
	r := k.revisions[revision]
	if r != nil {
		known = r.from
	}
	out := Reading{From: k.began.Add(max(known, from))}
	if old := k.unreported(revision); old != "" {
		out.Unreported = fmt.Sprintf("%s is of an older Wadi and does not report outcomes", old)
	}
	switch {
	case from < -justBefore && known == 0:
		out.Unknown = "this agent leads only since then"
	case from < known-justBefore:
		out.Unknown = "what was before is not kept"
	case silent != "":
		out.Unknown = fmt.Sprintf("%s does not answer", silent)
	}
	if r != nil {
		k.scratch.reset()
		r.sum(max(known, from), &k.scratch)
		out.Outcomes = k.scratch.outcomes()
		out.InstanceSeconds = r.ran(max(known, from), k.offset(now))
	}
	return out
}

// unreported names a source of a revision that reports no outcomes; empty if there is none.
// The caller holds mu.
func (k *Keeper) unreported(revision string) string {
	for id, about := range k.unknown {
		if about == "" || about == revision {
			return id
		}
	}
	return ""
}

// add counts outcomes that a source reported at a time. The caller holds mu.
func (k *Keeper) add(id string, o wadi.Outcomes, at time.Time) {
	if o.IsZero() {
		return
	}
	r := k.revision(id)
	was := r.bytes
	r.add(o, k.offset(at), &k.scratch)
	k.bytes += r.bytes - was
	limit := k.MaxBytes
	if limit == 0 {
		limit = defaultMaxBytes
	}
	if k.bytes > limit {
		k.trim(limit / len(k.revisions) * 9 / 10)
	}
}

// trim drops the oldest steps of each revision that has more than its share.
func (k *Keeper) trim(share int) {
	k.bytes = 0
	for _, r := range k.revisions {
		r.trim(share)
		k.bytes += r.bytes
	}
}

func (k *Keeper) revision(id string) *revision {
	r := k.revisions[id]
	if r == nil {
		r = &revision{}
		k.revisions[id] = r
	}
	return r
}

func (k *Keeper) offset(t time.Time) time.Duration { return t.Sub(k.began) }
