package usage

import (
	"time"
)

// sample is what was read of one instance: shares of what it asked for, in percent.
type sample struct {
	at          time.Time
	cpu, memory float64
}

// series is what was read of one instance, oldest first. A reading stands for the
// time since the one before it, and until the next one, but not for longer than
// holdFor: what is farther from any reading is not known.
type series struct {
	since   time.Time // From then on it may use something.
	ended   time.Time // From then on it uses nothing; zero: it lives.
	samples []sample
}

// holdFor is how long a reading stands for what nobody has read.
const holdFor = 3 * Every

// known adds up value × seconds of what is known between two times, and the
// seconds that are.
func (s *series) known(from, to time.Time, value func(sample) float64) (sum, seconds float64) {
	for i, v := range s.samples {
		begin, end := v.at.Add(-holdFor), v.at
		if i > 0 && s.samples[i-1].at.After(begin) {
			begin = s.samples[i-1].at
		}
		if i == len(s.samples)-1 {
			end = v.at.Add(holdFor)
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

// prune forgets what no window reaches back to.
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
	Mean     float64 // Percent of what one instance asked for: two at 80 are 160.
	Coverage float64 // Share of the instances' time in the window that is known; 0 without any instance.
}

// average of a window. What is not known of an instance is taken for as much as
// what is, so that a gap does not look like rest.
func average(all []*series, from, to time.Time, value func(sample) float64) Average {
	window := to.Sub(from).Seconds()
	var mean, living, known float64
	for _, s := range all {
		a, b := s.life(from, to)
		life := b.Sub(a).Seconds()
		if life <= 0 {
			continue
		}
		sum, seconds := s.known(a, b, value)
		living += life
		known += seconds
		if seconds > 0 {
			mean += sum / seconds * life / window
		}
	}
	if living == 0 {
		return Average{}
	}
	return Average{Mean: mean, Coverage: min(1, known/living)}
}
