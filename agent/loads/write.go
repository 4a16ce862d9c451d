package loads

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
)

// unwritten is what is to be stored of one service.
type unwritten struct {
	name     string
	from, to int64
	busy     []wadi.LoadMinute
}

// write stores the services that are due; at the end of a term those with a load that is not
// stored, the present minute included. What could not be stored is tried again later.
func (r *Recorder) write(ctx context.Context, now time.Time, last bool) {
	var g errgroup.Group
	g.SetLimit(writesAtOnce)
	for _, u := range r.collect(now, last) {
		g.Go(func() error {
			err := r.Store.UpdateLoadHistory(ctx, u.name, func(h wadi.LoadHistory) wadi.LoadHistory { return h.With(u.from, u.to, u.busy) })
			r.noteWrite(u, err, now)
			return nil
		})
	}
	_ = g.Wait() // Each has reported its error.
}

func (r *Recorder) collect(now time.Time, last bool) []unwritten {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []unwritten
	for name, rec := range r.services {
		u := unwritten{name: name, from: rec.from, to: rec.minute, busy: slices.Clone(rec.busy)}
		switch {
		case last && rec.unsaved():
			u.to, u.busy = rec.minute+1, append(u.busy, rec.present())
		case last || !rec.due(now):
			continue
		}
		all = append(all, u)
	}
	return all
}

// retryAfter is the pause after a failed write.
const retryAfter = time.Minute

func (r *Recorder) noteWrite(u unwritten, err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.services[u.name]
	switch {
	case rec == nil: // Deleted meanwhile.
	case err == nil:
		rec.saved(u.to, now)
	default:
		rec.nextWrite, rec.idleWrite = now.Add(retryAfter), now.Add(retryAfter)
		r.Log.Debug("the load of a service was not stored, and is stored later", "service", u.name, "error", err)
	}
}
