package harnesstest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// Client returns an HTTP client that keeps connections, and finds services at the gateway
// by their host names; see URL.
func (s *Stack) Client(t testing.TB) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 256, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Agent.Gateway)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// H2Client is Client with HTTP/2 without TLS.
func (s *Stack) H2Client(t testing.TB) *http.Client {
	c := s.Client(t)
	tr := c.Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetUnencryptedHTTP2(true)
	return c
}

// URL is a service's address for Client.
func URL(service, path string) string { return "http://" + service + "." + harness.Domain + path }

// Get asks a service through the gateway, and fails the test if no answer comes.
func (s *Stack) Get(t testing.TB, service, path string) harness.Response {
	t.Helper()
	res, err := s.Agent.Get(t.Context(), service, path)
	if err != nil {
		t.Fatalf("get %s%s: %v", service, path, err)
	}
	return res
}

// PostOnce sends a call that must not be repeated to the example app, and expects its
// answer.
func PostOnce(ctx context.Context, client *http.Client, url string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("once"))
	if err != nil {
		return err
	}
	res, err := harness.Do(client, req)
	if err == nil && (res.Status != http.StatusOK || res.Body != "once") {
		err = fmt.Errorf("status %d after %v: %s %v", res.Status, res.Took, res.Body, res.Header)
	}
	return err
}

// WantStatus fails the test if the answer has another status.
func WantStatus(t testing.TB, res harness.Response, want int) {
	t.Helper()
	if res.Status != want {
		t.Fatalf("got status %d, want %d; after %v:\n%v\n%s", res.Status, want, res.Took, res.Header, res.Body)
	}
}

// Metric sums the agent's metrics whose line begins with prefix.
func (s *Stack) Metric(t testing.TB, prefix string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Agent.Metrics+"/metrics", nil)
	Must(t, "make request", err)
	res, err := harness.Do(http.DefaultClient, req)
	Must(t, "read metrics", err)
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
