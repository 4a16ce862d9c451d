package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

// slowBodies begins submissions whose bodies never end, from an address of this machine.
func slowBodies(t *testing.T, b bench, n int, from string, header func(i int) string) []net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	var all []net.Conn
	for i := range n {
		c, err := d.DialContext(t.Context(), "tcp", b.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, err = fmt.Fprintf(c, "PUT /v1/services HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 1000\r\n\r\n{", header(i))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// evicted reports whether a slow body was evicted, and waits for it if wait is set.
func evicted(slow []net.Conn, wait bool) bool {
	until := time.Now()
	if wait {
		until = until.Add(20 * time.Second)
	}
	answers := make([]string, len(slow))
	for {
		for i, c := range slow {
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			more, _ := io.ReadAll(c)
			answers[i] += string(more)
			if strings.HasPrefix(answers[i], "HTTP/1.1 503 ") && strings.Contains(answers[i], "so slowly that it had to make room") {
				return true
			}
		}
		if !time.Now().Before(until) {
			return false
		}
	}
}

// submitSoon wants a submission to be taken long before slow bodies are given up.
func submitSoon(t *testing.T, b bench, token, source string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, b.URL+"/v1/services", strings.NewReader(submission(source)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Nomad-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Errorf("got status %d: %s", resp.StatusCode, text)
	}
}

// Bodies that never arrive don't block other submissions, whether they come from one
// address or many, and with one token or many. An evicted submission gets the reason.
func TestSubmit_SlowBodiesAreEvicted(t *testing.T) {
	none := func(int) string { return "" }
	for _, tt := range []struct {
		name   string
		n      int
		from   func(i int) string
		header func(i int) string
		gone   bool // Some have to.
	}{
		{"eight", 8, func(int) string { return "127.0.0.1" }, none, false},
		{"one address", 20, func(int) string { return "127.0.0.1" }, none, true},
		{"another address", 20, func(int) string { return "127.0.0.2" }, none, true},
		{"many addresses", 40, func(i int) string { return fmt.Sprintf("127.0.0.%d", 2+i) }, none, true},
		{"many tokens", 20, func(int) string { return "127.0.0.1" }, func(i int) string { return fmt.Sprintf("X-Nomad-Token: guess-%d\r\n", i) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
			var slow []net.Conn
			for i := range tt.n {
				slow = append(slow, slowBodies(t, b, 1, tt.from(i), func(int) string { return tt.header(i) })...)
			}
			for _, name := range []string{"one", "two", "three"} {
				submitSoon(t, b, "alice", strings.ReplaceAll(hello, "hello", name))
			}
			if got := evicted(slow, tt.gone); got != tt.gone {
				t.Errorf("evicted: %t, want %t", got, tt.gone)
			}
		})
	}
}

// A submission from an address with few slots gets the slot that was evicted for it,
// however many submissions wait from addresses with many.
func TestSubmit_EvictedSlotGoesToItsHeir(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	none := func(int) string { return "" }
	for _, from := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		slowBodies(t, b, 100, from, none)
	}
	for _, name := range []string{"one", "two", "three"} {
		submitSoon(t, b, "alice", strings.ReplaceAll(hello, "hello", name))
	}
}

// A caller without the right to submit is refused at once while all evaluations are busy,
// and uses none of them.
func TestSubmit_RightsBeforeEvaluation(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	proceed, planned := make(chan struct{}), make(chan struct{}, 100)
	b.nomad.OnPlan = func(string) (string, error) {
		planned <- struct{}{}
		<-proceed
		return "", nil
	}
	type result struct {
		status int
		err    error
	}
	done := make(chan result, 100)
	put := func(i int) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.URL+"/v1/services",
			strings.NewReader(submission(strings.ReplaceAll(hello, "hello", fmt.Sprintf("s%d", i)))))
		if err != nil {
			done <- result{0, err}
			return
		}
		req.Header.Set("X-Nomad-Token", "alice")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- result{0, err}
			return
		}
		_ = resp.Body.Close()
		done <- result{resp.StatusCode, nil}
	}
	const all, turns = 12, 8
	for i := range all {
		go put(i)
	}
	for range turns {
		<-planned
	}
	for i := range 20 {
		if got := b.ask(t, "PUT", "/v1/services", submission(hello), "X-Nomad-Token", fmt.Sprintf("guess-%d", i)); got.status != http.StatusForbidden {
			t.Errorf("got status %d: %s", got.status, got.body)
		}
	}
	if more := len(planned); more > 0 {
		t.Errorf("%d more than %d are worked on", more, turns)
	}
	close(proceed)
	for range all {
		if got := <-done; got.err != nil || got.status != http.StatusOK {
			t.Errorf("got %+v, want all submitted in the end", got)
		}
	}
}
