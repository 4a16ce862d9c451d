package usage

import "time"

// Bounds of the age that a sample appears to have when it is read. Drivers take up to 3.5
// s to report a measurement. A sample may also appear to come from the future, as clocks
// of one cluster differ a little.
const (
	maxAge    = 5 * time.Second
	maxAhead  = time.Second
	clockJump = 10 * time.Second // No sample's age grows by so much: this machine's clock was set.
)

// nodeClock maps the time of an instance's node to this machine's. If the newest sample
// has an age in these bounds, both clocks are taken as equal. Otherwise the least age ever
// seen is taken as their difference. Either clock may be set at any time.
type nodeClock struct {
	last     time.Time     // Time of the latest sample, by the node's clock.
	leastAge time.Duration // Least age of the samples so far.
	moved    bool          // There was a second sample.
}

// localTime is when a sample was measured, by this machine's clock. It fails for the
// sample that was read before. The first sample of a different clock may be an old one,
// which only the second one shows. The result is derived from now, so that its distance to
// now stays the same if the clock is set.
func (c *nodeClock) localTime(at, now time.Time) (time.Time, error) {
	age := now.Sub(at)
	switch {
	case c.last.IsZero():
		c.leastAge = age
	case at.Equal(c.last):
		return time.Time{}, errStale
	case at.Before(c.last), age-c.leastAge > clockJump: // The node's clock was set back, or this machine's ahead.
		c.leastAge, c.moved = age, true
	default:
		c.leastAge, c.moved = min(c.leastAge, age), true
	}
	c.last = at
	agree := c.leastAge >= -maxAhead && c.leastAge <= maxAge
	switch {
	case agree && age < 0:
		return now, nil
	case agree:
		return now.Add(-age), nil
	case !c.moved:
		return time.Time{}, errStale
	}
	return now.Add(c.leastAge - age), nil
}
