package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Traffic comes in cycles: busy, then a rest in which services go to zero and the levels
// that are judged show.
const (
	cycle   = 75 * time.Second
	busyFor = 35 * time.Second
)

// requestTimeout is so long that a busy machine is no reason to fail: an instance in the mesh
// may take a minute to start. So is the queue.timeout of the services.
const requestTimeout = 5 * time.Minute

// kind is one kind of traffic to one service.
type kind struct {
	name    string
	service string
	every   time.Duration
	atOnce  int // With so many unanswered none is sent.
	send    send
}

// send sends a request with a number to a service, and judges the answer.
type send func(ctx context.Context, e *entrance, service string, n int64) error

// kinds is all traffic.
func kinds(mesh bool) []kind {
	of := func(service string, more ...kind) (out []kind) {
		for _, k := range more {
			k.service = service
			out = append(out, k)
		}
		return out
	}
	http1 := []kind{
		{name: "get", every: 250 * time.Millisecond, atOnce: 50, send: get},
		{name: "get, new connection", every: 500 * time.Millisecond, atOnce: 50, send: knock},
		{name: "upload", every: 2 * time.Second, atOnce: 4, send: upload},
		{name: "download", every: 2 * time.Second, atOnce: 4, send: download},
		{name: "stream", every: 3 * time.Second, atOnce: 4, send: stream},
		{name: "WebSocket", every: 3 * time.Second, atOnce: 4, send: socket},
	}
	grpcs := []kind{
		{name: "gRPC", every: 500 * time.Millisecond, atOnce: 20, send: say},
		{name: "gRPC stream", every: 3 * time.Second, atOnce: 4, send: converse},
	}
	all := append(of(steadyHost, http1...), of(zeroHost, http1...)...)
	all = append(all, of(limited, kind{name: "get, one at once", every: 150 * time.Millisecond, atOnce: 20, send: alone})...)
	all = append(all, of(changing, kind{name: "get", every: 500 * time.Millisecond, atOnce: 20, send: hello})...)
	if mesh {
		calls := kind{name: "get through the mesh", every: 500 * time.Millisecond, atOnce: 20, send: via}
		all = append(all, of(steadyMesh, append(http1, calls)...)...)
		all = append(all, of(zeroMesh, append(http1, calls)...)...)
		all = append(append(all, of(steadyGRPC, grpcs...)...), of(zeroGRPC, grpcs...)...)
	}
	return all
}

// count is what became of one kind's requests.
type count struct {
	Kind     string        `json:"kind"`
	Service  string        `json:"service"`
	Sent     int           `json:"sent"`
	Answered int           `json:"answered"`
	Failed   int           `json:"failed"`
	Slowest  time.Duration `json:"slowest_ns"`
}

// maxFailures bounds the failures of a kind that are kept in words.
const maxFailures = 3

// traffic sends the mix until it is stopped.
type traffic struct {
	began     time.Time
	entrances []*entrance

	number atomic.Int64 // Of the last request; each has its own.

	mu       sync.Mutex // Guards the fields below.
	counts   map[string]*count
	failures []string
}

// busy reports whether requests are sent at a time since the traffic began.
func busy(at time.Duration) bool { return at%cycle < busyFor }

// run sends a kind's requests until ctx ends, and returns when all are answered.
func (t *traffic) run(ctx context.Context, k kind) {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	slots := make(chan struct{}, k.atOnce)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !busy(time.Since(t.began)) {
			continue
		}
		select {
		case slots <- struct{}{}:
			sending.Go(func() {
				t.one(ctx, k.name, k.service, k.send)
				<-slots
			})
		default:
		}
	}
}

// one sends a request. One that has begun is completed, so that none fails by the end.
func (t *traffic) one(ctx context.Context, name, service string, send send) {
	n := t.number.Add(1)
	e := t.entrances[n%int64(len(t.entrances))]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	c := t.begin(name, service)
	began := time.Now()
	err := send(ctx, e, service, n)
	t.end(c, e, n, began, err)
}

func (t *traffic) begin(name, service string) *count {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := service + "\x00" + name
	c := t.counts[key]
	if c == nil {
		c = &count{Kind: name, Service: service}
		t.counts[key] = c
	}
	c.Sent++
	return c
}

func (t *traffic) end(c *count, e *entrance, n int64, began time.Time, err error) {
	took := time.Since(began)
	t.mu.Lock()
	defer t.mu.Unlock()
	c.Slowest = max(c.Slowest, took)
	if err == nil {
		c.Answered++
		return
	}
	c.Failed++
	if c.Failed <= maxFailures {
		t.failures = append(t.failures, fmt.Sprintf("%s +%v: request %d, %s to %s by %s: %v",
			began.UTC().Format("15:04:05.000"), took.Round(time.Millisecond), n, c.Kind, c.Service, e.agent.Name, err))
	}
}

// total sums all counts.
func (t *traffic) total() count {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum count
	for _, c := range t.counts {
		sum.Sent, sum.Answered, sum.Failed = sum.Sent+c.Sent, sum.Answered+c.Answered, sum.Failed+c.Failed
		sum.Slowest = max(sum.Slowest, c.Slowest)
	}
	return sum
}
