package usage

import "time"

// track takes in what is said of an instance. One that begins, or begins again, uses
// something from then on, and nobody can say yet how much. One that has run for long
// when it is first seen has a past that nobody has read.
func (r *revision) track(in Instance, now time.Time) {
	was := r.instances[in.ID]
	if was == nil {
		was = &instance{Instance: in, series: &series{}}
		r.instances[in.ID] = was
		if !in.Starting {
			age := max(0, now.Sub(in.Placed)) // By now, however our clock is set later.
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
