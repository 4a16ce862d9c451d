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
// sampleValidFor: what is farther from any reading is not known.
type series struct {
	since   time.Time // From then on it may use something; zero: it has not run.
	from    time.Time // Until then it starts: what it uses is not told, nor guessed. Zero: it still does.
	ended   time.Time // From then on it uses nothing; zero: it lives.
	samples []sample
}

// sampleValidFor is how long a reading stands for what nobody has read.
const sampleValidFor = 3 * Every

// known adds up value × seconds of what is known between two times, and the
// seconds that are.
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

// counted is the part of a window in which what the instance uses counts.
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
	Counted  float64 // The same without the time in which instances started.
}

// average of a window. What is not known of an instance is taken for as much as
// what is, so that a gap does not look like rest. But a start is not taken for
// anything: what an instance uses in it says nothing of later, so that as long as it
// is in the window the mean is that at least.
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
