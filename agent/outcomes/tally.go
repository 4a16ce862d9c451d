package outcomes

import (
	"encoding/binary"
	"slices"

	"github.com/wadi-run/wadi"
)

// tally is a sum of outcomes that is used again and again. The zero value is empty.
type tally struct {
	codes   map[string]uint64
	cold    uint64
	latency [wadi.NumLatencyBuckets]uint64
	order   []string
}

func (t *tally) reset() {
	clear(t.codes)
	t.cold, t.latency = 0, [wadi.NumLatencyBuckets]uint64{}
}

func (t *tally) count(code string, n uint64) {
	if t.codes == nil {
		t.codes = map[string]uint64{}
	}
	t.codes[code] += n
}

func (t *tally) add(o wadi.Outcomes) {
	for code, n := range o.Codes {
		t.count(code, n)
	}
	t.cold += o.ColdStarts
	for i, n := range o.Latency[:min(len(o.Latency), len(t.latency))] {
		t.latency[i] += n
	}
}

func (t *tally) outcomes() wadi.Outcomes {
	o := wadi.Outcomes{ColdStarts: t.cold}
	for code, n := range t.codes {
		if o.Codes == nil {
			o.Codes = make(map[string]uint64, len(t.codes))
		}
		o.Codes[code] = n
	}
	if t.latency != [wadi.NumLatencyBuckets]uint64{} {
		o.Latency = slices.Clone(t.latency[:])
	}
	return o
}

// pack writes t in few bytes: the cold starts, the codes, and the buckets that are not empty,
// each by its distance from the one before.
func (t *tally) pack(into []byte) []byte {
	into = binary.AppendUvarint(into, t.cold)
	t.order = t.order[:0]
	for code := range t.codes {
		t.order = append(t.order, code)
	}
	slices.Sort(t.order)
	into = binary.AppendUvarint(into, uint64(len(t.order)))
	for _, code := range t.order {
		into = append(binary.AppendUvarint(into, uint64(len(code))), code...)
		into = binary.AppendUvarint(into, t.codes[code])
	}
	last := -1
	for i, n := range t.latency {
		if n > 0 {
			into = binary.AppendUvarint(into, uint64(i-last))
			into = binary.AppendUvarint(into, n)
			last = i
		}
	}
	return into
}

// unpack adds what pack wrote.
func (t *tally) unpack(from []byte) {
	next := func() uint64 {
		n, size := binary.Uvarint(from)
		from = from[size:]
		return n
	}
	t.cold += next()
	for range next() {
		size := next()
		code := string(from[:size])
		from = from[size:]
		t.count(code, next())
	}
	for at := -1; len(from) > 0; {
		at += int(next())
		t.latency[at] += next()
	}
}
