//go:build e2e

package matrix

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

const (
	every   = 250 * time.Millisecond // A stream's requests begin so often.
	atOnce  = 128                    // Of one stream without an answer; more are not sent.
	patient = time.Minute            // A caller waits so long for its answer.
	longest = time.Second            // A tenth of the requests take so long.

	napBusy, napCycle = 4 * time.Second, 20 * time.Second // Requests of ServiceNaps come so long, in each such time.
)

// ViaMesh is the way of requests that are sent through the Envoy of a service in the mesh.
const ViaMesh = "the mesh"

// Result is a request of the load, and how it ended.
type Result struct {
	Number  uint64 // Unique in a world.
	Service string
	Method  string // GET may be repeated, POST may not.
	Via     string // The agent whose gateway had it, or ViaMesh.

	Began, Ended time.Time

	Status int    // 0: no answer.
	Reason string // The header Wadi-Error: Wadi's own answer.
	Body   string
	Err    string // Why there is no answer.
	OK     bool   // It has the answer that its app gives, to this very request.
}

// String is the request in a line.
func (r Result) String() string {
	return fmt.Sprintf("%s #%d %s %s via %s after %v: status %d %s %.200q %s", r.Began.Format("15:04:05.000"), r.Number, r.Method, r.Service, r.Via,
		r.Ended.Sub(r.Began).Round(time.Millisecond), r.Status, r.Reason, r.Body, r.Err)
}

// Load sends requests to all services through all agents and the mesh, until it is stopped.
//
// Its callers are as those behind a load balancer: one that can't connect to an agent
// connects to another. Nothing else is sent again.
type Load struct {
	agents []*harness.Agent
	caller *harnesstest.Caller // Nil without the mesh.
	mesh   *http.Client

	ctx    context.Context // Ends with Stop.
	cancel context.CancelFunc
	done   sync.WaitGroup
	last   atomic.Uint64 // Number of the last request.

	mu      sync.Mutex // Guards the following.
	streams []*stream
	open    map[uint64]time.Time // Requests without an answer, and when they began.
	ended   []Result             // Since the last take.
}

// stream is requests to one service by one way, at a constant rate.
type stream struct {
	service string
	first   int  // The agent that is tried first; -1: through the mesh.
	want    int  // Status of the app's answers.
	naps    bool // See napCycle.

	row  int       // Good answers without a failure between; guarded by Load.mu.
	good time.Time // When the last one with a good answer had begun; guarded by Load.mu.
}

// newLoad begins the load.
func newLoad(agents []*harness.Agent, caller *harnesstest.Caller) *Load {
	l := &Load{agents: agents, caller: caller, open: map[uint64]time.Time{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for i := range agents {
		for _, name := range []string{ServiceHost, ServicePair, ServiceSingle} {
			l.start(l.ctx, &stream{service: name, first: i})
		}
		l.start(l.ctx, &stream{service: ServiceNaps, first: i, naps: true})
		if caller != nil {
			l.start(l.ctx, &stream{service: ServiceMesh, first: i})
		}
	}
	if caller != nil {
		l.mesh = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return caller.Dial(ctx, addr)
		}}}
		l.start(l.ctx, &stream{service: ServiceMesh, first: -1})
	}
	return l
}

// Stop ends the load, and returns when all requests have ended.
func (l *Load) Stop() {
	l.cancel()
	l.done.Wait()
	if l.mesh != nil {
		l.mesh.CloseIdleConnections()
	}
}

// Also sends requests to one more service through all agents, until the function that it
// returns is called. Its app answers with a status.
func (l *Load) Also(service string, status int) (stop func()) {
	ctx, cancel := context.WithCancel(l.ctx)
	var mine []*stream
	for i := range l.agents {
		s := &stream{service: service, first: i, want: status}
		mine = append(mine, s)
		l.start(ctx, s)
	}
	return func() {
		cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		var rest []*stream
		for _, s := range l.streams {
			if !contains(mine, s) {
				rest = append(rest, s)
			}
		}
		l.streams = rest
	}
}

func contains(all []*stream, s *stream) bool {
	for _, o := range all {
		if o == s {
			return true
		}
	}
	return false
}

// start begins a stream, which lasts until ctx ends.
func (l *Load) start(ctx context.Context, s *stream) {
	if s.want == 0 {
		s.want = http.StatusOK
	}
	l.mu.Lock()
	l.streams = append(l.streams, s)
	l.mu.Unlock()
	l.done.Go(func() {
		began := time.Now()
		tick := time.NewTicker(every)
		defer tick.Stop()
		slots := make(chan struct{}, atOnce)
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if s.naps && time.Since(began)%napCycle > napBusy {
				continue
			}
			select {
			case slots <- struct{}{}:
				l.done.Go(func() {
					l.Send(s.service, s.first, s.want, s)
					<-slots
				})
			default: // A caller that waits sends no more.
			}
		}
	})
}

// Once sends one request to a service through an agent, by its number, and does not wait for
// its end.
func (l *Load) Once(service string, agent int) {
	l.done.Go(func() { l.Send(service, agent, http.StatusOK, nil) })
}

// Send sends one request to a service by a way, see stream, and returns when it has ended.
// The stream may be nil.
func (l *Load) Send(service string, first, want int, s *stream) Result {
	r := Result{Number: l.last.Add(1), Service: service, Method: http.MethodGet, Via: ViaMesh, Began: time.Now()}
	if r.Number%2 == 1 {
		r.Method = http.MethodPost
	}
	l.mu.Lock()
	l.open[r.Number] = r.Began
	l.mu.Unlock()
	l.ask(&r, first)
	r.Ended = time.Now()
	r.OK = r.Err == "" && r.Status == want && strings.HasPrefix(r.Body, fmt.Sprintf("n=%d ", r.Number))
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, r.Number)
	l.ended = append(l.ended, r)
	switch {
	case s == nil:
	case r.OK:
		s.row++
		if r.Began.After(s.good) {
			s.good = r.Began
		}
	default:
		s.row = 0
	}
	return r
}

// ask sends the request and notes its end.
func (l *Load) ask(r *Result, first int) {
	ctx, cancel := context.WithTimeout(context.Background(), patient) // A request that was sent is waited for, also by Stop.
	defer cancel()
	if first < 0 {
		l.askBy(ctx, r, l.mesh, "http://"+l.caller.Addr(r.Service))
		return
	}
	for i := range l.agents {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, via, err := l.connect(ctx, first+i)
			r.Via = via
			return conn, err
		}}}
		l.askBy(ctx, r, client, "http://"+r.Service+"."+harness.Domain)
		if r.Reason != starting {
			return
		}
	}
}

// starting is the reason of a gateway that does not know its services yet. A load balancer
// does not send it requests, as it is not ready.
const starting = "starting"

// askBy sends the request once.
func (l *Load) askBy(ctx context.Context, r *Result, client *http.Client, base string) {
	path := fmt.Sprintf("/?n=%d", r.Number)
	if r.Number%10 < 2 && r.Service != ServiceSingle { // Of both methods.
		path += "&sleep=" + longest.String()
	}
	var body io.Reader
	if r.Method == http.MethodPost {
		body = strings.NewReader("once")
	}
	r.Status, r.Body, r.Reason, r.Err = 0, "", "", ""
	req, err := http.NewRequestWithContext(ctx, r.Method, base+path, body)
	if err != nil {
		r.Err = err.Error()
		return
	}
	res, err := harness.Do(client, req)
	if err != nil {
		r.Err = err.Error()
		return
	}
	r.Status, r.Body, r.Reason = res.Status, res.Body, res.Header.Get(wadi.HeaderError)
}

// connect connects to the first agent that takes connections, beginning with one.
func (l *Load) connect(ctx context.Context, first int) (conn net.Conn, via string, err error) {
	for i := range l.agents {
		a := l.agents[(first+i)%len(l.agents)]
		if a.Netns != "" {
			conn, err = harnesstest.DialIn(ctx, a.Netns, a.Gateway)
		} else {
			conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", a.Gateway)
		}
		if err == nil {
			return conn, a.Name, nil
		}
	}
	return nil, "no agent", err
}

// answered is an error while there is a stream that has not had so many good answers in a
// row, the last one to a request that began after a moment.
func (l *Load) answered(after time.Time, row int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if !s.naps && (s.row < row || !s.good.After(after)) {
			return fmt.Errorf("%s has %d good answers in a row by way %d, the last one to a request of %s", s.service, s.row, s.first, s.good.Format("15:04:05.000"))
		}
	}
	return nil
}

// take waits until all requests that have begun have ended, and returns and forgets those
// that have ended since the last take.
func (l *Load) take(ctx context.Context) ([]Result, error) {
	now := time.Now()
	err := harness.Eventually(ctx, patient+10*time.Second, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for n, began := range l.open {
			if began.Before(now) {
				return fmt.Errorf("request #%d of %s has not ended", n, began.Format("15:04:05.000"))
			}
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.ended
	l.ended = nil
	return all, err
}
