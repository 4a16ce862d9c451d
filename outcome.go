package wadi

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"
)

// Outcomes are how the requests of a revision were answered since some moment, and how long
// each answer let its caller wait. A value is never changed in place.
type Outcomes struct {
	// Codes counts the answers by what callers got: HTTP's status ("200", "503"), or of a gRPC
	// call that HTTP answered with 200 its own status ("grpc:14"). Beyond [MaxOutcomeCodes]
	// different ones, further ones count by their class ("4xx"). [CodeCallerGone] is no
	// answer: the caller left before one began.
	Codes map[string]uint64 `json:"codes,omitempty"`

	// Latency has the time from a request's arrival at its instance to the beginning of the
	// answer. A caller that left before that is in it with the time that it waited; an answer
	// that no instance gave is not.
	Latency Latencies `json:"latency,omitempty"`

	ColdStarts uint64 `json:"cold_starts,omitempty"` // Times that a request had to wait for an instance.
}

// CodeCallerGone is the code of a request whose caller left before an answer began. It counts
// neither as a request that was answered nor as an error, unless it is named as one.
const CodeCallerGone = "499"

// MaxOutcomeCodes bounds the different statuses of HTTP in [Outcomes]. Their classes, and gRPC's
// 17, may come in addition.
const MaxOutcomeCodes = 48

// Requests is the number of requests that were answered, with an error or without.
func (o Outcomes) Requests() uint64 {
	n := uint64(0)
	for code, count := range o.Codes {
		if code != CodeCallerGone {
			n += count
		}
	}
	return n
}

// Errors is the number of requests whose code is one of those that patterns name; see
// [CheckErrorCode]. Without patterns it is one of [DefaultErrorCodes].
func (o Outcomes) Errors(patterns []string) uint64 {
	if len(patterns) == 0 {
		patterns = DefaultErrorCodes()
	}
	n := uint64(0)
	for code, count := range o.Codes {
		if IsErrorCode(code, patterns) {
			n += count
		}
	}
	return n
}

// Quantile is the latency that a share q, 0 to 1, of the requests did not exceed; 0 without
// requests. See [Latencies.Quantile] for how exact it is.
func (o Outcomes) Quantile(q float64) time.Duration { return o.Latency.Quantile(q) }

// IsZero reports whether o has counted nothing.
func (o Outcomes) IsZero() bool {
	return len(o.Codes) == 0 && len(o.Latency) == 0 && o.ColdStarts == 0
}

// Add is the sum of o and p.
func (o Outcomes) Add(p Outcomes) Outcomes {
	switch {
	case o.IsZero():
		return p
	case p.IsZero():
		return o
	}
	sum := Outcomes{Codes: maps.Clone(o.Codes), Latency: o.Latency.Add(p.Latency), ColdStarts: o.ColdStarts + p.ColdStarts}
	if sum.Codes == nil {
		sum.Codes = make(map[string]uint64, len(p.Codes))
	}
	for code, n := range p.Codes {
		sum.Codes[code] += n
	}
	return sum
}

// Less reports whether a counter of o is below that of p. Counters only grow, so that o is then
// no later value of the same ones.
func (o Outcomes) Less(p Outcomes) bool {
	for code, n := range p.Codes {
		if o.Codes[code] < n {
			return true
		}
	}
	return o.ColdStarts < p.ColdStarts
}

// Sub is what o has more than p, an earlier value of the same counters.
func (o Outcomes) Sub(p Outcomes) Outcomes {
	if p.IsZero() {
		return o
	}
	rest := Outcomes{Latency: o.Latency.Sub(p.Latency), ColdStarts: less(o.ColdStarts, p.ColdStarts)}
	for code, n := range o.Codes {
		if n = less(n, p.Codes[code]); n > 0 {
			if rest.Codes == nil {
				rest.Codes = make(map[string]uint64, len(o.Codes))
			}
			rest.Codes[code] = n
		}
	}
	return rest
}

func less(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// Latencies counts durations in the buckets of [LatencyBounds]: element i those above bound
// i-1 and up to bound i, the last one those above all bounds. Empty has none. A value is never
// changed in place.
type Latencies []uint64

// latencySteps are the bounds of one power of ten. Each is at most a quarter above the one
// before, and the limits that people choose are among them.
var latencySteps = [...]float64{1, 1.2, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8}

// latencyBounds are the upper bounds of all buckets but the last.
var latencyBounds = func() []time.Duration {
	bounds := []time.Duration{100 * time.Microsecond, 200 * time.Microsecond, 350 * time.Microsecond, 500 * time.Microsecond, 700 * time.Microsecond}
	for decade := time.Millisecond; ; decade *= 10 {
		for _, step := range latencySteps {
			bound := time.Duration(math.Round(step * float64(decade)))
			bounds = append(bounds, bound)
			if bound >= 300*time.Second {
				return bounds
			}
		}
	}
}()

// NumLatencyBuckets is the number of elements of [Latencies] that are not empty.
const NumLatencyBuckets = 78

// LatencyBounds returns the upper bounds of all buckets but the last, in order: from 0.1 ms
// to 300 s, from 1 ms on each at most a quarter above the one before.
func LatencyBounds() []time.Duration { return append([]time.Duration(nil), latencyBounds...) }

// LatencyBucket is the index of the bucket of d.
func LatencyBucket(d time.Duration) int {
	low, high := 0, len(latencyBounds)
	for low < high {
		if mid := (low + high) / 2; latencyBounds[mid] < d {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// MarshalJSON writes l as pairs of numbers, one for each bucket that is not empty: its upper
// bound in microseconds, 0 for the last one, and its count. So the buckets may change.
func (l Latencies) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, n := range l {
		if n == 0 {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		bound := int64(0)
		if i < len(latencyBounds) {
			bound = latencyBounds[i].Microseconds()
		}
		b = append(strconv.AppendInt(b, bound, 10), ',')
		b = strconv.AppendUint(b, n, 10)
	}
	return append(b, ']'), nil
}

// maxLatencyPairs bounds what UnmarshalJSON takes.
const maxLatencyPairs = 1000

// UnmarshalJSON reads the format of MarshalJSON. A bound that is not among those of l counts in
// the bucket that contains it.
func (l *Latencies) UnmarshalJSON(b []byte) error {
	var pairs []uint64
	if err := json.Unmarshal(b, &pairs); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	if len(pairs)%2 != 0 || len(pairs) > 2*maxLatencyPairs {
		return fmt.Errorf("latency: want up to %d pairs of numbers, got %d numbers", maxLatencyPairs, len(pairs))
	}
	*l = nil
	if len(pairs) == 0 {
		return nil
	}
	*l = make(Latencies, NumLatencyBuckets)
	for ; len(pairs) > 0; pairs = pairs[2:] {
		at := NumLatencyBuckets - 1
		if micro := pairs[0]; micro > 0 && micro <= uint64(latencyBounds[at-1].Microseconds()) {
			at = LatencyBucket(time.Duration(micro) * time.Microsecond)
		}
		(*l)[at] += pairs[1]
	}
	return nil
}

// Count is the number of durations.
func (l Latencies) Count() uint64 {
	n := uint64(0)
	for _, c := range l {
		n += c
	}
	return n
}

// Quantile is the duration that a share q, 0 to 1, did not exceed; 0 if there are none. Within
// a bucket the durations are taken for evenly spread, so from 1 ms on it is less than 25 %
// off, and 12 % in the middle of a bucket. Above the last bound it is that bound.
func (l Latencies) Quantile(q float64) time.Duration {
	total := l.Count()
	if total == 0 {
		return 0
	}
	rank, below := max(0, min(1, q))*float64(total), uint64(0)
	for i, c := range l {
		if c == 0 || float64(below+c) < rank {
			below += c
			continue
		}
		if i >= len(latencyBounds) {
			break
		}
		low := time.Duration(0)
		if i > 0 {
			low = latencyBounds[i-1]
		}
		share := max(0, rank-float64(below)) / float64(c)
		return low + time.Duration(share*float64(latencyBounds[i]-low))
	}
	return latencyBounds[len(latencyBounds)-1]
}

// Above bounds how many durations were above d: least are in buckets wholly above it, most
// include the bucket that contains d.
func (l Latencies) Above(d time.Duration) (least, most uint64) {
	at := LatencyBucket(d)
	for i, c := range l {
		if i > at {
			least += c
		}
	}
	most = least
	if at < len(l) && (at == len(latencyBounds) || latencyBounds[at] != d) {
		most += l[at]
	}
	return least, most
}

// Add is the sum of l and m.
func (l Latencies) Add(m Latencies) Latencies {
	if len(l) < len(m) {
		l, m = m, l
	}
	if len(m) == 0 {
		return l
	}
	sum := append(Latencies(nil), l...)
	for i, c := range m {
		sum[i] += c
	}
	return sum
}

// Sub is what l has more than m, an earlier value of the same counters.
func (l Latencies) Sub(m Latencies) Latencies {
	var rest Latencies
	for i, c := range l {
		if i < len(m) {
			c = less(c, m[i])
		}
		if c > 0 {
			if rest == nil {
				rest = make(Latencies, len(l))
			}
			rest[i] = c
		}
	}
	return rest
}
