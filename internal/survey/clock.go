package survey

import "time"

// Offset is by how much another machine's clock is ahead of this one's: a value from Low to
// High, below zero where it is behind. The zero value is not known.
type Offset struct {
	Low, High time.Duration
	Known     bool
}

// Beyond is by how much the clocks differ at least, if that is more than tolerance: above zero
// the other one is ahead, below zero behind. 0: they may agree well enough.
func (o Offset) Beyond(tolerance time.Duration) time.Duration {
	switch {
	case !o.Known:
		return 0
	case o.Low > tolerance:
		return o.Low
	case o.High < -tolerance:
		return o.High
	}
	return 0
}

// offsetOfDate compares with a Date header, which has whole seconds, of an answer between
// two moments by the own clock.
func offsetOfDate(date, began, ended time.Time) Offset {
	if date.IsZero() {
		return Offset{}
	}
	return Offset{Low: date.Sub(ended), High: date.Add(time.Second).Sub(began), Known: true}
}

// offsetOfSample compares with the time of a measurement that was read between two moments,
// and that may be as old as stale.
func offsetOfSample(at, began, ended time.Time, stale time.Duration) Offset {
	return Offset{Low: at.Sub(ended), High: at.Add(stale).Sub(began), Known: true}
}
