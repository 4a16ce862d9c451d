//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// waitLong bounds waits for what takes seconds on an idle machine.
const waitLong = 60 * time.Second

// scalings returns what Nomad's history says of a revision's count, oldest first.
// Nomad keeps the latest twenty.
func scalings(t *testing.T, revision string) []nomad.ScalingEvent {
	t.Helper()
	st, _, err := stack.Nomad.Jobs().ScaleStatus(revision, nil)
	if err != nil {
		t.Fatalf("read scale status: %v", err)
	}
	events := st.TaskGroups[wadi.GroupInstance].Events // Newest first.
	out := make([]nomad.ScalingEvent, 0, len(events))
	for i := range events {
		out = append(out, events[len(events)-1-i])
	}
	return out
}

// wakesOf counts the scalings of a revision that a request asked for.
func wakesOf(t *testing.T, revision string) int {
	t.Helper()
	n := 0
	for _, e := range scalings(t, revision) {
		if strings.Contains(e.Message, "woken by a request") {
			n++
		}
	}
	return n
}

// lastWake is Nomad's index of the latest scaling that a request asked for; 0: none.
func lastWake(t *testing.T, revision string) uint64 {
	t.Helper()
	last := uint64(0)
	for _, e := range scalings(t, revision) {
		if strings.Contains(e.Message, "woken by a request") {
			last = max(last, e.CreateIndex)
		}
	}
	return last
}

// metric sums the agent's metrics whose line begins with prefix.
func metric(t *testing.T, prefix string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+stack.Agent.Metrics+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := harness.Do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(res.Body) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			t.Fatalf("metric %q: %v", line, err)
		}
		sum += v
	}
	return sum
}

// load is requests that go on until stop.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	bodies map[string]int // How often each answer came, without the instance.
	last   string
	from   map[string]int // How often each instance answered.
	failed []string       // In words, with the time.
}

// loadAtOnce bounds the requests of a load that wait for their answers: a service
// that is slow to come up on a busy machine must not meet hundreds at once.
const loadAtOnce = 50

// startLoad sends a request for url every so often, whether the earlier ones are
// answered or not. What is not answered with 200 counts as failed.
func startLoad(t *testing.T, c *http.Client, url string, every time.Duration) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, bodies: map[string]int{}, from: map[string]int{}}
	t.Cleanup(func() { l.stop() })
	l.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		room := make(chan struct{}, loadAtOnce)
		for {
			select {
			case room <- struct{}{}:
				l.done.Go(func() {
					l.one(c, url)
					<-room
				})
			default:
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return l
}

// startWorkers sends requests one after the other, as many at once as n.
func startWorkers(t *testing.T, c *http.Client, url string, n int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, bodies: map[string]int{}, from: map[string]int{}}
	t.Cleanup(func() { l.stop() })
	for range n {
		l.done.Go(func() {
			for ctx.Err() == nil {
				l.one(c, url)
			}
		})
	}
	return l
}

// one sends a request that is finished even when the load is stopped.
func (l *load) one(c *http.Client, url string) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	var res harness.Response
	if err == nil {
		res, err = harness.Do(c, req)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || res.Status != 200 {
		l.failed = append(l.failed, fmt.Sprintf("%s +%v: %v, status %d %q %v",
			begin.Format("15:04:05.000"), time.Since(begin).Round(time.Millisecond), err, res.Status, res.Body, res.Header))
		return
	}
	text, instance, _ := strings.Cut(strings.TrimSpace(res.Body), " (instance ")
	l.bodies[text]++
	l.last = text
	l.from[instance]++
}

// stop ends the load, and returns when all requests are answered.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// count returns how many requests were answered so far, and how many of them so.
func (l *load) count(text string) (all, so int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b, n := range l.bodies {
		all += n
		if b == text {
			so = n
		}
	}
	return all, so
}

// wantNoFailure ends the load, and fails the test if a request failed or too few
// were sent to say so.
func (l *load) wantNoFailure(t *testing.T, atLeast int) {
	t.Helper()
	l.stop()
	all, _ := l.count("")
	if len(l.failed) > 0 {
		t.Errorf("%d of %d requests failed, for instance:\n%s", len(l.failed), len(l.failed)+all,
			strings.Join(l.failed[:min(5, len(l.failed))], "\n"))
	}
	if all < atLeast {
		t.Errorf("only %d requests were answered, want %d", all, atLeast)
	}
}

// answer is one request's, sent in the background.
type answer struct {
	harness.Response
	err error
}

// ask sends a request in the background, on a connection of its own.
func ask(ctx context.Context, service, path string) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		res, err := stack.Agent.Get(ctx, service, path)
		c <- answer{res, err}
	}()
	return c
}

// collect waits for n answers and counts them by status. A request that failed
// otherwise fails the test.
func collect(t *testing.T, answers []<-chan answer) map[int][]harness.Response {
	t.Helper()
	got := map[int][]harness.Response{}
	for _, c := range answers {
		a := <-c
		if a.err != nil {
			t.Errorf("a request failed: %v", a.err)
			continue
		}
		got[a.Status] = append(got[a.Status], a.Response)
	}
	return got
}

// open is a request whose body goes on: the app sends back what comes. It is in
// flight until finish.
type open struct {
	res  *http.Response
	body *io.PipeWriter
}

// openRequest begins a request, and returns when the app has it.
func openRequest(t *testing.T, service string) *open {
	t.Helper()
	in, out := io.Pipe()
	t.Cleanup(func() { _ = out.Close() }) // A pipe's never fails.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, urlOf(service, "/"), in)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = out.Write([]byte("0")) }() // If nobody reads it, the answer does not come.
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatalf("open a request: %v", err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != 200 {
		t.Fatalf("open a request: got status %d", res.StatusCode)
	}
	return &open{res: res, body: out}
}

// finish ends the request, which must have been answered whole by the revision.
func (o *open) finish(t *testing.T, revision string) {
	t.Helper()
	go func() {
		_, _ = o.body.Write([]byte("1")) // What fails here is missing in the answer.
		_ = o.body.Close()
	}()
	got, err := io.ReadAll(o.res.Body)
	if from := o.res.Header.Get("Hello-Revision"); err != nil || string(got) != "01" || from != revision {
		t.Errorf("a request in flight: got %q from %s (%v), want %q from %s", got, from, err, "01", revision)
	}
}

// statuses is what collect returned, in words.
func statuses(got map[int][]harness.Response) string {
	var b strings.Builder
	for status, all := range got {
		fmt.Fprintf(&b, "%d × %d (for instance %q) ", len(all), status, all[0].Body)
	}
	return b.String()
}
