package usage

import "time"

// track updates an instance. An instance that starts or restarts uses an unknown amount
// from then on. An instance that has run for long when it is first seen has an unread
// past.
func (r *revision) track(in Instance, now time.Time) {
	was := r.instances[in.ID]
	if was == nil {
		was = &instance{Instance: in, series: &series{}}
		r.instances[in.ID] = was
		if !in.Starting {
			age := max(0, now.Sub(in.Placed)) // Derived from now, so that a set clock does not change it.
			was.since = now.Add(-age)
			if age > pastAfter {
				was.from = was.since
			}
		}
		return
	}
	restarted := was.Restarts != in.Restarts
	was.Instance = in
	if in.Starting || !was.since.IsZero() && !restarted {
		return
	}
	r.endSeries(was, now)
	was.series = &series{since: now}
}

// endSeries ends a series, which counts as long as a window reaches back to it.
func (r *revision) endSeries(in *instance, now time.Time) {
	if !in.since.IsZero() {
		in.ended = now
		r.past = append(r.past, in.series)
	}
}
