package stats

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
)

// Code is what a caller got: a status of HTTP's, or one of gRPC's by GRPC. The zero value is
// nothing that counts.
type Code int

// CallerGone is the code of a request whose caller left before an answer began; see
// [wadi.CodeCallerGone].
const CallerGone Code = 499

// grpcCodes is what codes of gRPC begin with.
const grpcCodes Code = 1000

// maxGRPC is the last code that gRPC defines; others stand for UNKNOWN.
const (
	maxGRPC     = 16
	grpcUnknown = 2
)

// HTTP is the code of a status. One that HTTP does not define is taken for a 5xx (RFC 9110,
// section 15).
func HTTP(status int) Code {
	if status < 100 || status > 599 {
		return 5
	}
	return Code(status)
}

// GRPC is the code of the value of a grpc-status. One that gRPC does not define is taken for
// UNKNOWN.
func GRPC(value string) Code {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxGRPC {
		n = grpcUnknown
	}
	return grpcCodes + Code(n)
}

// String is the code as [wadi.Outcomes] has it.
func (c Code) String() string {
	switch {
	case c >= grpcCodes:
		return "grpc:" + strconv.Itoa(int(c-grpcCodes))
	case c < 10:
		return strconv.Itoa(int(c)) + "xx"
	}
	return strconv.Itoa(int(c))
}

// class is the code that counts in place of c where there are too many.
func (c Code) class() Code {
	if c < 10 || c >= grpcCodes {
		return c // There are few of them.
	}
	return c / 100
}

// tally counts outcomes since the start. It is guarded by its recorder.
type tally struct {
	codes   []codeCount // In the order of their first request.
	http    int         // How many of codes are statuses of HTTP.
	latency [wadi.NumLatencyBuckets]uint64
	waited  time.Duration // The sum of all latencies.
	cold    uint64
}

type codeCount struct {
	code  Code
	count uint64
}

func (t *tally) add(c Code) {
	for i := range t.codes {
		if t.codes[i].code == c {
			t.codes[i].count++
			return
		}
	}
	if c != c.class() && c != CallerGone {
		if t.http == wadi.MaxOutcomeCodes-1 {
			t.add(c.class())
			return
		}
		t.http++
	}
	t.codes = append(t.codes, codeCount{c, 1})
}

// outcomes are those of t, which may be nil.
func (t *tally) outcomes() *wadi.Outcomes {
	o := &wadi.Outcomes{}
	if t == nil {
		return o
	}
	o.ColdStarts = t.cold
	for _, c := range t.codes {
		if o.Codes == nil {
			o.Codes = make(map[string]uint64, len(t.codes))
		}
		o.Codes[c.code.String()] = c.count
	}
	if slices.ContainsFunc(t.latency[:], func(n uint64) bool { return n > 0 }) {
		o.Latency = slices.Clone(t.latency[:])
	}
	return o
}

// LeaveAnswered is Leave for a request whose outcome counts: the time from its arrival to the
// beginning of the answer is latency, or as long as its caller waited for one.
func (r *Recorder) LeaveAnswered(proxied bool, c Code, latency time.Duration) {
	bucket := wadi.LatencyBucket(latency)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave(proxied)
	t := r.outcomes()
	t.add(c)
	t.latency[bucket]++
	t.waited += latency
}

// Refused counts an answer that was given in place of an instance, which has no latency. It is
// called between Enter and Leave, so that a reader learns of it.
func (r *Recorder) Refused(c Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes().add(c)
}

// ColdStart counts a cold start.
func (r *Recorder) ColdStart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes().cold++
}

// Outcomes are how requests were answered since the start, and the sum of their latencies.
func (r *Recorder) Outcomes() (o wadi.Outcomes, waited time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tally != nil {
		waited = r.tally.waited
	}
	return *r.tally.outcomes(), waited
}

// outcomes is r's tally, made at its first use. The caller holds the mutex.
func (r *Recorder) outcomes() *tally {
	if r.tally == nil {
		r.tally = &tally{}
	}
	return r.tally
}

// GRPCStatus is the grpc-status in the header of an answer that has ended, where HTTP/2 keeps
// trailers too; empty if there is none. Unlike Header.Get it takes canonical names only.
func GRPCStatus(h http.Header) string {
	for _, name := range [...]string{"Grpc-Status", http.TrailerPrefix + "Grpc-Status"} {
		if v := h[name]; len(v) > 0 {
			return v[0]
		}
	}
	return ""
}
