//go:build e2e

package attacks_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// flooder is an address of an attacker of its own.
const flooder = "127.0.0.66"

// A caller that sends more requests than its share gets 429, and when to come back, whatever
// tokens it invents. Health checks and other callers are answered meanwhile.
func TestAttack_RequestFlood(t *testing.T) {
	// Not parallel: the open agent counts this machine as one caller.
	var mu sync.Mutex
	statuses, retry := map[int]int{}, map[string]bool{}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots(t)}, MaxIdleConnsPerHost: 50}
	t.Cleanup(tr.CloseIdleConnections)
	const (
		perSecond = 5    // So few that a busy machine sends more; twice as many may come at once.
		enough    = 500  // Refusals that are waited for.
		most      = 5000 // Requests in all.
	)
	setShare(t, perSecond)
	t.Cleanup(func() { setShare(t, openShare) })
	var invented, refused atomic.Int64
	var senders sync.WaitGroup
	begun := time.Now()
	for range 50 {
		senders.Go(func() {
			for range most / 50 {
				if refused.Load() >= enough {
					return
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+open.API+"/v1/service/nobody", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Nomad-Token", fmt.Sprint("invented-", invented.Add(1)))
				res, err := harness.Do(&http.Client{Transport: tr}, req)
				if res.Status == http.StatusTooManyRequests {
					refused.Add(1)
				}
				mu.Lock()
				if err == nil {
					statuses[res.Status]++
					retry[res.Header.Get("Retry-After")] = true
				}
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	share := 2*perSecond + int(perSecond*time.Since(begun).Seconds()) + 1
	if refused.Load() < enough || statuses[http.StatusForbidden] > share {
		t.Errorf("a flood is answered with %v, want %d refusals and at most %d answers", statuses, enough, share)
	}
	for after := range retry {
		if n, err := strconv.Atoi(after); after != "" && (err != nil || n < 1 || n > 10) {
			t.Errorf("Retry-After: %q", after)
		}
	}
	if res := ask(t, open, request{method: "GET", path: "/v1/agent/health"}); res.Status != http.StatusOK {
		t.Errorf("a health check: got %d %s", res.Status, res.Body)
	}
	// The other agent counts for itself, and the flooded one is soon as before.
	if res := ask(t, stack.Agent, request{method: "GET", path: "/v1/services", header: []string{"X-Nomad-Token", bob}}); res.Status != http.StatusOK {
		t.Errorf("the other agent: got %d %s", res.Status, res.Body)
	}
	eventually(t, waitLong, func() error {
		if res := ask(t, open, request{method: "GET", path: "/v1/services", header: []string{"X-Nomad-Token", bob}}); res.Status != http.StatusOK {
			return fmt.Errorf("after the flood: got %d %s", res.Status, res.Body)
		}
		return nil
	})
}

// setShare makes the open agent give each caller another number of requests per second.
func setShare(t *testing.T, perSecond int) {
	t.Helper()
	file := strings.TrimSuffix(open.Config, ".hcl") + "-extra.hcl"
	text, err := os.ReadFile(file)
	must(t, "read its configuration", err)
	text = regexp.MustCompile(`requests_per_second = \d+`).ReplaceAll(text, fmt.Appendf(nil, "requests_per_second = %d", perSecond))
	must(t, "write its configuration", os.WriteFile(file, text, 0o600))
	_, err = open.Client.Reload(context.WithoutCancel(t.Context()))
	must(t, "reload", err)
}

// One address that holds as many connections as it gets, idle, with half a request or in an
// endless stream, keeps no other address from any listener.
func TestAttack_ConnectionFlood(t *testing.T) {
	for name, tt := range map[string]struct{ addr, begin, path string }{
		"the API, idle":              {stack.Agent.API, "", "/v1/services"},
		"the API, half a request":    {stack.Agent.API, "GET /v1/ser", "/v1/services"},
		"the API, streams":           {stack.Agent.API, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Nomad-Token: " + alice + "\r\n\r\n", "/v1/services"},
		"the API, blocked reads":     {stack.Agent.API, "GET /v1/services?index=18446744073709551615&wait=10m HTTP/1.1\r\nHost: localhost\r\nX-Nomad-Token: " + alice + "\r\n\r\n", "/v1/services"},
		"the API, bodies":            {stack.Agent.API, "PUT /v1/services HTTP/1.1\r\nHost: localhost\r\nX-Nomad-Token: " + alice + "\r\nContent-Length: 1000\r\n\r\n{", "/v1/services"},
		"the metrics listener, idle": {stack.Agent.Metrics, "", "/metrics"},
		"the metrics listener, polls": {stack.Agent.Metrics, "GET /v1/stats?since=99999999999&wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n",
			"/metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(flooder)}, Timeout: 5 * time.Second}
			for range 1200 {
				conn, err := dialer.DialContext(ctx, "tcp", tt.addr)
				if err != nil {
					break
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, tt.begin) // An agent may refuse more.
			}
			for range 3 {
				res, err := try(t, &harness.Agent{Name: name, API: tt.addr}, request{method: "GET", path: tt.path, header: []string{"X-Nomad-Token", bob}, from: "127.0.0.77"})
				if err != nil || res.Status != http.StatusOK {
					t.Errorf("another address: got %d %.200s, %v", res.Status, res.Body, err)
				}
			}
		})
	}
	must(t, "the agent goes on", stack.Agent.Client.Health(t.Context()))
}

// Submissions without end of one caller leave room for another's.
func TestAttack_SubmissionFlood(t *testing.T) {
	large := encoded(in("alice", "flood", "") + strings.Repeat("# filler\n", 50_000))
	ctx, cancel := context.WithCancel(t.Context())
	tr := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(flooder)}}).DialContext}
	var senders sync.WaitGroup
	var wrote atomic.Int64
	for range 40 {
		senders.Go(func() {
			for ctx.Err() == nil {
				trace := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { wrote.Add(1) }})
				req, err := http.NewRequestWithContext(trace, http.MethodPost, "http://"+stack.Agent.API+"/v1/services/validate", strings.NewReader(large))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Nomad-Token", alice)
				_, _ = harness.Do(&http.Client{Transport: tr}, req)
			}
		})
	}
	eventually(t, waitLong, func() error {
		if n := wrote.Load(); n < 80 {
			return fmt.Errorf("only %d submissions are sent", n)
		}
		return nil
	})
	res := ask(t, stack.Agent, request{method: "POST", path: "/v1/services/validate", body: encoded(in("bob", "calm", "")), header: []string{"X-Nomad-Token", bob}, from: "127.0.0.77"})
	cancel()
	senders.Wait()
	if res.Status != http.StatusOK {
		t.Errorf("meanwhile another caller: got %d %s", res.Status, res.Body)
	}
}
