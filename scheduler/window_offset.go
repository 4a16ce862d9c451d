package scheduler

// epochSeconds is how long an estimate of an offset counts: one to two epochs. An idle
// source is polled at least twice in one.
const epochSeconds = 60

// offset maps a source's seconds to the reader's: the reader's second is the source's plus
// the offset. A slow report makes the source look late, never early, so the smallest
// recent estimate is the best. Estimates expire, as clocks drift apart and machines are
// paused.
type offset struct {
	epoch     int64
	last, cur int64 // The smallest of the last epoch and of this one.
}

func newOffset(estimate, at int64) offset {
	return offset{epoch: floorDiv(at, epochSeconds), last: estimate, cur: estimate}
}

// observe records an estimate made at the reader's second at.
func (o *offset) observe(estimate, at int64) {
	if epoch := floorDiv(at, epochSeconds); epoch > o.epoch {
		o.epoch, o.last, o.cur = epoch, o.cur, estimate
		return
	}
	o.cur = min(o.cur, estimate)
}

func (o *offset) value() int64 { return min(o.last, o.cur) }
