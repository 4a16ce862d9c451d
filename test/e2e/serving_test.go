//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A service without an instance answers its first request, which starts one. After an idle
// window there is none again; twice.
func TestServing_ColdAndBackToZero(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("cold", options{}))
	for round := range 2 {
		stack.ToZero(t, "cold-00001")
		res := stack.Get(t, "cold", "/")
		harnesstest.WantStatus(t, res, 200)
		if want := "hello from cold-00001 "; !strings.HasPrefix(res.Body, want) {
			t.Errorf("round %d: got body %q, want it to begin with %q", round, res.Body, want)
		}
		if n, err := stack.Count(t.Context(), "cold-00001"); err != nil || n != 1 {
			t.Errorf("round %d: got count %d (%v) after one request, want 1", round, n, err)
		}
	}
	stack.ToZero(t, "cold-00001")
}

// The answer to a cold request says where the time went; a warm one has no such header.
func TestServing_ServerTiming(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("timing", options{scale: "initial = 0", window: "1h"}))
	cold := stack.Get(t, "timing", "/")
	harnesstest.WantStatus(t, cold, 200)
	got := map[string]float64{}
	for part := range strings.SplitSeq(cold.Header.Get("Server-Timing"), ", ") {
		name, dur, _ := strings.Cut(part, ";dur=")
		ms, err := strconv.ParseFloat(dur, 64)
		if err != nil {
			t.Fatalf("Server-Timing %q: %v", cold.Header.Get("Server-Timing"), err)
		}
		got[name] = ms
	}
	sum := 0.0
	for _, name := range []string{"queue", "place", "start", "probe", "forward"} {
		if _, ok := got[name]; !ok || len(got) != 5 {
			t.Errorf("Server-Timing %v: want the five phases, also %s", got, name)
		}
		sum += got[name]
	}
	if got["place"] <= 0 || got["start"] <= 0 || got["forward"] <= 0 || sum > float64(cold.Took.Milliseconds()+1) {
		t.Errorf("Server-Timing %v: a part is missing, or together they are longer than the request (%v)", got, cold.Took)
	}
	if warm := stack.Get(t, "timing", "/").Header.Get("Server-Timing"); warm != "" {
		t.Errorf("a warm answer has Server-Timing %q", warm)
	}
}

// A body that arrives while there is no instance reaches the app whole and unchanged, with
// and without a known length.
func TestServing_ColdPost(t *testing.T) {
	t.Parallel()
	body := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(body) // Never fails.
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"post-length":  func(r io.Reader) io.Reader { return r },
		"post-chunked": func(r io.Reader) io.Reader { return struct{ io.Reader }{r} },
	} {
		stack.Deploy(t, hello(name, options{scale: "initial = 0"}))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, harnesstest.URL(name, "/"), wrap(bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := harness.Do(stack.Client(t), req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		harnesstest.WantStatus(t, res, 200)
		if res.Header.Get("Server-Timing") == "" {
			t.Errorf("%s: the request was not cold", name)
		}
		if res.Body != string(body) {
			t.Errorf("%s: got %d bytes back that differ from the %d sent", name, len(res.Body), len(body))
		}
	}
}

// The app's output reaches the client before the app writes more, and the client's input
// reaches the app before the request is complete.
func TestServing_StreamsBothWays(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("stream", options{}))
	in, out := io.Pipe()
	defer func() { _ = out.Close() }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, harnesstest.URL("stream", "/"), in)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = out.Write([]byte("0")) }() // If the app does not read it, the answer does not come.
	res, err := stack.Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for i := range 5 {
		got := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != strconv.Itoa(i) {
			t.Fatalf("got %q (%v), want %d while the request is still open", got, err, i)
		}
		if i < 4 {
			if _, err := out.Write([]byte(strconv.Itoa(i + 1))); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = out.Close() // A pipe's never fails.
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("got %q (%v) after the request's end, want nothing", rest, err)
	}
}

// Wadi's internal headers have no effect from outside, and no app sees them.
func TestServing_InternalHeadersFromOutside(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("headers", options{})+hello("victim", options{scale: "initial = 0"}))
	for _, protocol := range []*http.Client{stack.Client(t), stack.H2Client(t)} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL("headers", "/a?headers=1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{
			"Wadi-Service": "victim", "Wadi-Revision": "victim-00001", "Wadi-Instance": "0000", "Wadi-Proxied": "1",
			"Wadi-Probe": "headers-00001", "X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1", "Kept": "yes",
			"X-Forwarded-Client-Cert": "URI=192.0.2.1", "X-Forwarded-Ssl": "192.0.2.1", "X-Forwarded-Prefix": "/192.0.2.1", "X-Original-Url": "/192.0.2.1",
			"Front-End-Https": "192.0.2.1", "X-Envoy-External-Address": "192.0.2.1", "True-Client-Ip": "192.0.2.1", "X_Real_Ip": "192.0.2.1",
		} {
			req.Header.Set(k, v)
		}
		res, err := harness.Do(protocol, req)
		if err != nil {
			t.Fatal(err)
		}
		harnesstest.WantStatus(t, res, 200)
		if got := res.Header.Get("Hello-Revision"); got != "headers-00001" {
			t.Errorf("revision %q answered, want headers-00001", got)
		}
		for _, bad := range []string{"Wadi-", "192.0.2.1", "victim"} {
			if strings.Contains(res.Body, bad) {
				t.Errorf("the app saw %q:\n%s", bad, res.Body)
			}
		}
		for _, good := range []string{"GET /a?headers=1 ", "Host: headers." + harness.Domain, "Kept: yes", "X-Forwarded-For: 127.0.0.1"} {
			if !strings.Contains(res.Body, good) {
				t.Errorf("the app did not see %q:\n%s", good, res.Body)
			}
		}
	}
	if n, err := stack.Count(t.Context(), "victim-00001"); err != nil || n != 0 {
		t.Errorf("got count %d (%v) of a service that nobody called, want 0", n, err)
	}
}

// An app with HTTP/2 gets HTTP/2, whatever the caller uses.
func TestServing_H2C(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("h2c", options{scale: "initial = 0", service: `protocol = "h2c"`}))
	for name, c := range map[string]*http.Client{"HTTP/1.1": stack.Client(t), "HTTP/2": stack.H2Client(t)} {
		for range 3 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL("h2c", "/?headers=1"), nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := harness.Do(c, req)
			if err != nil {
				t.Fatal(err)
			}
			harnesstest.WantStatus(t, res, 200)
			if want := "GET /?headers=1 HTTP/2.0\r\n"; !strings.HasPrefix(res.Body, want) {
				t.Errorf("from %s: the app saw %q, want it to begin with %q", name, res.Body, want)
			}
		}
	}
}

// A quiet path neither wakes a service nor keeps it up.
func TestServing_QuietPaths(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("quiet", options{scale: "initial = 0", queue: `quiet = ["/metrics"]`}))
	res := stack.Get(t, "quiet", "/metrics")
	harnesstest.WantStatus(t, res, 503)
	if got := res.Header.Get("Wadi-Error"); got != "at_zero" {
		t.Errorf("got Wadi-Error %q, want at_zero", got)
	}
	if n := len(stack.Scalings(t, "quiet-00001")); n > 0 {
		t.Fatalf("Nomad knows %d scalings after a request of a quiet path, want none", n)
	}
	harnesstest.WantStatus(t, stack.Get(t, "quiet", "/"), 200)
	harnesstest.WantStatus(t, stack.Get(t, "quiet", "/metrics"), 200)
	seen := 0
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if res := stack.Get(t, "quiet", "/metrics"); res.Status == 200 {
			seen++
		} else if res.Status != 503 {
			return harness.Final(fmt.Errorf("got status %d: %s", res.Status, res.Body))
		}
		if n, err := stack.Count(t.Context(), "quiet-00001"); err != nil || n != 0 {
			return fmt.Errorf("count %d (%v)", n, err)
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Errorf("to zero under requests of a quiet path: %v (%d were answered)", err, seen)
	}
}

// An unknown host is refused, and so is a header of a hundred kilobytes.
func TestServing_RefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	res := stack.Get(t, "nobody", "/")
	harnesstest.WantStatus(t, res, 404)
	if got := res.Header.Get("Wadi-Error"); got != "unknown_host" {
		t.Errorf("got Wadi-Error %q, want unknown_host", got)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL("nobody", "/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Large", strings.Repeat("x", 100<<10))
	if res, err = harness.Do(stack.Client(t), req); err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, res, 431)
}
