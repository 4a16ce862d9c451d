package usage

import "time"

// maxAge is how old a figure may look when it is read: drivers take up to 3.5 s to
// tell what they measured. By ahead it may seem to come from the future, as clocks of
// one cluster differ a little.
const (
	maxAge    = 5 * time.Second
	maxAhead  = time.Second
	clockJump = 10 * time.Second // By which no figure gets older than another: our clock was set.
)

// nodeClock maps the time of an instance's node to ours. Where the newest figure looks as
// old as one may be, both clocks are taken to agree. Else the least age ever seen is
// taken for what they differ by. Either may be set while we read.
type nodeClock struct {
	last     time.Time     // Of the latest figure, by the node's.
	leastAge time.Duration // How old figures looked.
	moved    bool          // There was another figure after the first.
}

// localTime is when a figure was measured that was read now. It fails if it is the one that
// was read before. The first figure of a clock that differs may be an old one:
// whether it moves is known at the next. What it returns is by now, so that it stays as long
// ago however our clock is set.
func (c *nodeClock) localTime(at, now time.Time) (time.Time, error) {
	age := now.Sub(at)
	switch {
	case c.last.IsZero():
		c.leastAge = age
	case at.Equal(c.last):
		return time.Time{}, errStale
	case at.Before(c.last), age-c.leastAge > clockJump: // It was set back, or ours ahead.
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
