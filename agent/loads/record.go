package loads

import (
	"hash/fnv"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	writeBusyEvery = 10 * time.Minute
	writeIdleEvery = time.Hour
)

// record is what is not stored yet of one service's load.
type record struct {
	from   int64             // The first minute that is not stored.
	minute int64             // The present minute: those before are whole.
	busy   []wadi.LoadMinute // The whole minutes with load, oldest first.

	next int64 // The second to read next.

	// Of the present minute:

	seconds                        int64 // How many were read.
	total, peak, requests, maxRate float64

	nextWrite time.Time // Not before; zero: when there is load.
	idleWrite time.Time // Of a service without load.
}

// newRecord begins with the seconds before to that can still be read: a new service may have
// had requests before it was known here.
func newRecord(name string, to int64, now time.Time) *record {
	second := to - maxCatchUp
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // It does not fail.
	// Services that a leader takes over together are not written together.
	spread := time.Duration(h.Sum32()%uint32(writeIdleEvery/time.Second)) * time.Second
	return &record{from: second / 60, minute: second / 60, next: second, idleWrite: now.Add(spread)}
}

// read adds the seconds before to.
func (r *record) read(revisions []string, m Meter, to int64) {
	switch {
	case to-r.next > maxCatchUp:
		r.skip(to - maxCatchUp)
	case r.next-to > setBack: // Its seconds would be taken for read until the clock is there again.
		r.begin(to)
	}
	if to <= r.next {
		return
	}
	var loads [maxCatchUp]struct{ concurrency, begun float64 }
	for _, id := range revisions {
		m.Seconds(id, r.next, to, func(second int64, concurrency, begun float64) {
			l := &loads[second-r.next]
			l.concurrency += concurrency
			l.begun += begun
		})
	}
	for i := range loads[:to-r.next] {
		r.add(r.next+int64(i), loads[i].concurrency, loads[i].begun)
	}
	r.next = to
}

// skip leaves out seconds that can't be read any more: the process was paused, or the clock
// was set. Whole minutes in between are not known.
func (r *record) skip(to int64) {
	r.next = to
	if to/60 > r.minute+1 {
		r.begin(to)
	}
}

// begin forgets what is not stored, and goes on at a second.
func (r *record) begin(at int64) {
	*r = record{from: at / 60, minute: at / 60, next: at, nextWrite: r.nextWrite, idleWrite: r.idleWrite}
}

// add adds one second.
func (r *record) add(second int64, concurrency, begun float64) {
	for second/60 > r.minute {
		r.close()
	}
	r.seconds++
	r.total += concurrency
	r.requests += begun
	r.peak, r.maxRate = max(r.peak, concurrency), max(r.maxRate, begun)
}

// close ends the present minute.
func (r *record) close() {
	if r.peak > 0 || r.maxRate > 0 {
		r.busy = append(r.busy, r.present())
	}
	r.minute++
	r.seconds, r.total, r.peak, r.requests, r.maxRate = 0, 0, 0, 0, 0
	if oldest := r.minute - wadi.MaxLoadMinutes; r.from < oldest { // The store is unavailable for a day.
		r.from = oldest
		for len(r.busy) > 0 && r.busy[0].Minute < oldest {
			r.busy = r.busy[1:]
		}
	}
}

// present is the present minute. The seconds of it that were not read count as those that
// were.
func (r *record) present() wadi.LoadMinute {
	read := float64(max(1, r.seconds))
	return wadi.LoadMinute{Minute: r.minute, Concurrency: r.total / read, Peak: r.peak, Requests: r.requests, PeakRate: r.maxRate}
}

// due reports whether the service is to be written now.
func (r *record) due(now time.Time) bool {
	return len(r.busy) > 0 && !now.Before(r.nextWrite) || r.from < r.minute && !now.Before(r.idleWrite)
}

// unsaved reports whether a load is not stored.
func (r *record) unsaved() bool { return len(r.busy) > 0 || r.peak > 0 || r.maxRate > 0 }

// saved notes that the minutes before to are stored.
func (r *record) saved(to int64, now time.Time) {
	r.from = max(r.from, to)
	for len(r.busy) > 0 && r.busy[0].Minute < to {
		r.busy = r.busy[1:]
	}
	r.nextWrite, r.idleWrite = now.Add(writeBusyEvery), now.Add(writeIdleEvery)
}
