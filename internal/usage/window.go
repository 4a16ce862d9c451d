package usage

import (
	"time"
)

// sample is one measurement of an instance, in percent of what it requests.
type sample struct {
	at          time.Time
	cpu, memory float64
}

// series is the samples of one instance, oldest first. A sample stands for the time since
// the one before it, and until the next one, but not for longer than sampleValidFor: the
// use at other times is unknown.
type series struct {
	since   time.Time // The instance may use something from then on; zero: it has not run.
	from    time.Time // It starts until then: its use is not reported, nor guessed. Zero: it still starts.
	ended   time.Time // It uses nothing from then on; zero: it runs.
	samples []sample
}

// sampleValidFor is how long a sample stands for unmeasured time.
const sampleValidFor = 3 * Every

// known sums value × seconds of the known use between two times, and the known seconds.
func (s *series) known(from, to time.Time, value func(sample) float64) (sum, seconds float64) {
	for i, v := range s.samples {
		begin, end := v.at.Add(-sampleValidFor), v.at
		if i > 0 && s.samples[i-1].at.After(begin) {
			begin = s.samples[i-1].at
		}
		if i == len(s.samples)-1 {
			end = v.at.Add(sampleValidFor)
		}
		d := overlap(begin, end, from, to).Seconds()
		sum += d * value(v)
		seconds += d
	}
	return sum, seconds
}

// life is the part of a window in which the instance may have used something.
func (s *series) life(from, to time.Time) (time.Time, time.Time) {
	if s.since.After(from) {
		from = s.since
	}
	if !s.ended.IsZero() && s.ended.Before(to) {
		to = s.ended
	}
	return from, to
}

func overlap(a, b, from, to time.Time) time.Duration {
	if a.Before(from) {
		a = from
	}
	if b.After(to) {
		b = to
	}
	return max(0, b.Sub(a))
}

// counted is the part of a window in which the instance's use counts.
func (s *series) counted(from, to time.Time) (time.Time, time.Time) {
	if s.from.IsZero() {
		return to, to
	}
	from, to = s.life(from, to)
	if s.from.After(from) {
		from = s.from
	}
	return from, to
}

// prune drops samples that no window reaches back to.
func (s *series) prune(before time.Time) {
	i := 0
	for i < len(s.samples) && s.samples[i].at.Before(before) {
		i++
	}
	if i > 0 {
		s.samples = append(s.samples[:0], s.samples[i:]...)
	}
}

// Average is the sum over instances of one quantity, averaged over a window.
type Average struct {
	Mean     float64 // Percent of one instance's request: two instances at 80 are 160.
	Coverage float64 // Share of the instances' time in the window that is known; 0 without instances.
	Counted  float64 // Coverage without the time in which instances started.
}

// average averages a window. Unknown use of an instance counts as its known average, so
// that a gap does not look like idleness. But use during a start is not guessed: it says
// nothing about later use, so while a start is in the window, the mean is a lower bound.
func average(all []*series, from, to time.Time, value func(sample) float64) Average {
	window := to.Sub(from).Seconds()
	var mean, living, counting, known float64
	for _, s := range all {
		a, b := s.life(from, to)
		if !b.After(a) {
			continue
		}
		living += b.Sub(a).Seconds()
		if a, b = s.counted(from, to); !b.After(a) {
			continue
		}
		counted := b.Sub(a).Seconds()
		sum, seconds := s.known(a, b, value)
		counting += counted
		known += seconds
		if seconds > 0 {
			mean += sum / seconds * counted / window
		}
	}
	out := Average{Mean: mean}
	if living > 0 {
		out.Coverage = min(1, known/living)
	}
	if counting > 0 {
		out.Counted = min(1, known/counting)
	}
	return out
}
