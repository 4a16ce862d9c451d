package usage

import "time"

// Averages are the averages of one quantity over two windows that end now.
type Averages struct {
	Stable, Panic Average
	End           time.Time // The measuring time of the oldest of the instances' latest samples; zero: there is none.
}

// CPU averages the processor use. It reports false if the revision is not followed.
func (u *Usage) CPU(revision string, stable, panicking time.Duration) (Averages, bool) {
	return u.averages(revision, stable, panicking, func(s sample) float64 { return s.cpu })
}

// Memory averages the memory use. It reports false if the revision is not followed.
func (u *Usage) Memory(revision string, stable, panicking time.Duration) (Averages, bool) {
	return u.averages(revision, stable, panicking, func(s sample) float64 { return s.memory })
}

func (u *Usage) averages(id string, stable, panicking time.Duration, value func(sample) float64) (Averages, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	rev := u.revisions[id]
	if rev == nil {
		return Averages{}, false
	}
	all := make([]*series, 0, len(rev.instances)+len(rev.past))
	var end time.Time
	for _, in := range rev.instances {
		if !in.since.IsZero() { // An instance that has not run has used nothing.
			all = append(all, in.series)
		}
		if n := len(in.samples); n > 0 && (end.IsZero() || in.samples[n-1].at.Before(end)) {
			end = in.samples[n-1].at
		}
	}
	all = append(all, rev.past...)
	now := time.Now()
	return Averages{
		Stable: average(all, now.Add(-stable), now, value),
		Panic:  average(all, now.Add(-panicking), now, value),
		End:    end,
	}, true
}
