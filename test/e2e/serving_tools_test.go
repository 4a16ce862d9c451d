//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// startLoad sends a request for url every so often, without waiting for answers. Any
// status but 200 counts as failed.
func startLoad(t *testing.T, c *http.Client, url string, every time.Duration) *harnesstest.Load {
	t.Helper()
	return harnesstest.StartLoad(t, every, 50, harnesstest.Getting(c, url))
}

// startWorkers runs n workers that send one request after another.
func startWorkers(t *testing.T, c *http.Client, url string, n int) *harnesstest.Load {
	t.Helper()
	return harnesstest.StartWorkers(t, n, 0, harnesstest.Getting(c, url))
}

// answer is the answer to a request sent in the background.
type answer struct {
	harness.Response
	err error
}

// ask sends a request in the background, on its own connection.
func ask(ctx context.Context, service, path string) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		res, err := stack.Agent.Get(ctx, service, path)
		c <- answer{res, err}
	}()
	return c
}

// collect waits for n answers and counts them by status. A request without an answer fails
// the test.
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

// open is a request with an unfinished body: the app echoes it. It is in flight until
// finish.
type open struct {
	res  *http.Response
	body *io.PipeWriter
}

// openRequest begins a request, and returns when the app has it.
func openRequest(t *testing.T, service string) *open {
	t.Helper()
	in, out := io.Pipe()
	t.Cleanup(func() { _ = out.Close() }) // A pipe's never fails.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, harnesstest.URL(service, "/"), in)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = out.Write([]byte("0")) }() // If the app does not read it, the answer does not come.
	res, err := stack.Client(t).Do(req)
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
		_, _ = o.body.Write([]byte("1")) // A failure shows in the answer.
		_ = o.body.Close()
	}()
	got, err := io.ReadAll(o.res.Body)
	if from := o.res.Header.Get("Hello-Revision"); err != nil || string(got) != "01" || from != revision {
		t.Errorf("a request in flight: got %q from %s (%v), want %q from %s", got, from, err, "01", revision)
	}
}

// statuses describes the result of collect.
func statuses(got map[int][]harness.Response) string {
	var b strings.Builder
	for status, all := range got {
		fmt.Fprintf(&b, "%d × %d (for instance %q) ", len(all), status, all[0].Body)
	}
	return b.String()
}
