//go:build e2e

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// callers send requests that must not be repeated through an agent's gateway, until it
// accepts no more connections. Any other error is a failure.
type callers struct {
	done   sync.WaitGroup
	good   atomic.Int64
	closed atomic.Int64 // Answers with Connection: close.

	mu     sync.Mutex
	failed []string
}

// startCallers starts one caller for each client.
func startCallers(ctx context.Context, a *harness.Agent, service string, clients ...*http.Client) *callers {
	c := &callers{}
	for _, client := range clients {
		c.done.Go(func() {
			for {
				res, err := post(ctx, client, a, service, "/?sleep=20ms")
				switch {
				case errors.Is(err, syscall.ECONNREFUSED):
					return
				case err != nil || res.Status != http.StatusOK:
					c.mu.Lock()
					c.failed = append(c.failed, fmt.Sprintf("%s: status %d, %v %s", time.Now().Format("15:04:05.000"), res.Status, err, res.Body))
					many := len(c.failed) > 20
					c.mu.Unlock()
					if many {
						return
					}
				default:
					c.good.Add(1)
					if res.Header.Get("Connection") == "close" {
						c.closed.Add(1)
					}
				}
			}
		})
	}
	return c
}

func post(ctx context.Context, client *http.Client, a *harness.Agent, service, path string) (harness.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, harnesstest.WaitLong)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL(path), strings.NewReader("x"))
	if err != nil {
		return harness.Response{}, err
	}
	req.Host = service + "." + harness.Domain
	res, err := client.Do(req)
	if err != nil {
		return harness.Response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	h := res.Header
	if res.Close {
		h.Set("Connection", "close") // Go's client removes it.
	}
	return harness.Response{Status: res.StatusCode, Header: h, Body: string(body)}, err
}

// clientsOf are clients of all kinds: with persistent connections, with one connection per
// request, and with HTTP/2.
func clientsOf(t *testing.T) []*http.Client {
	var all []*http.Client
	for i := range 12 {
		tr := &http.Transport{MaxIdleConnsPerHost: 1, DisableKeepAlives: i%3 == 1}
		if i%3 == 2 {
			tr.Protocols = new(http.Protocols)
			tr.Protocols.SetUnencryptedHTTP2(true)
		}
		t.Cleanup(tr.CloseIdleConnections)
		all = append(all, &http.Client{Transport: tr})
	}
	return all
}

// wantUnready waits until an agent is not ready, and then sends a request on a new
// connection: a draining agent must still serve it, with Connection: close.
func wantUnready(t *testing.T, a *harness.Agent, service string) {
	t.Helper()
	eventually(t, harnesstest.WaitLong, func() error {
		res, err := http.Get("http://" + a.Metrics + "/ready")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable {
			return fmt.Errorf("/ready answers %d", res.StatusCode)
		}
		return nil
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := post(t.Context(), client, a, service, "/")
	if err != nil || res.Status != http.StatusOK || res.Header.Get("Connection") != "close" {
		t.Errorf("a new connection while it settles: status %d, connection %q, error %v; want 200, close",
			res.Status, res.Header.Get("Connection"), err)
	}
}

// wantLeft waits until Consul lists an agent no more for callers. Consul's catalog learns of
// it after Consul's agent.
func wantLeft(t *testing.T, a *harness.Agent) {
	t.Helper()
	eventually(t, harnesstest.WaitLong, func() error {
		for _, name := range []string{"wadi", "wadi-activator", "wadi-activator-http2", "wadi-activator-grpc"} {
			left, _, err := stack.Consul.Catalog().Service(name, "", nil)
			if err != nil {
				return err
			}
			for _, s := range left {
				if s.ServiceID == name+":"+a.Name {
					return fmt.Errorf("%s is registered still as %s", a.Name, name)
				}
			}
		}
		return nil
	})
}

// An agent that is stopped under full load loses no request, in flight or new.
func TestAgentStops_UnderLoad(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("loaded", `window = "1h"`, ""))
	two := startSecond(t)
	eventually(t, harnesstest.WaitLong, func() error { return through(two, "loaded", "/")(t.Context()) })
	load := startCallers(t.Context(), two, "loaded", clientsOf(t)...)
	long := make(chan error, 1)
	go func() {
		res, err := post(t.Context(), &http.Client{Transport: &http.Transport{}}, two, "loaded", "/?sleep=14s") // Longer than the drain's settling time.
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		long <- err
	}()
	pause(t, 2*time.Second)
	harnesstest.Must(t, "tell the agent to stop", two.Signal(syscall.SIGTERM))
	wantUnready(t, two, "loaded")
	load.done.Wait()
	wantLeft(t, two)
	if err := <-long; err != nil {
		t.Errorf("the request that was in flight: %v", err)
	}
	select {
	case <-two.Done():
	case <-time.After(harnesstest.WaitLong):
		t.Fatalf("the agent does not end:\n%s", two.Tail(30))
	}
	if two.ExitCode() != 0 || len(load.failed) > 0 || load.good.Load() < 100 || load.closed.Load() == 0 {
		t.Errorf("exit code %d, %d good requests, %d sent away, failed: %s\n%s",
			two.ExitCode(), load.good.Load(), load.closed.Load(), strings.Join(load.failed, "\n"), two.Tail(30))
	}
	t.Logf("%d requests, of which %d sent their callers away", load.good.Load(), load.closed.Load())
}

// The admin API drains an agent in the same way, but leaves it running.
func TestAgentDrained_ByTheAdminPlane(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("drained", `window = "1h"`, ""))
	two := startSecond(t)
	eventually(t, harnesstest.WaitLong, func() error { return through(two, "drained", "/")(t.Context()) })
	load := startCallers(t.Context(), two, "drained", clientsOf(t)...)
	pause(t, time.Second)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+two.API+"/v1/admin/drain", nil)
	harnesstest.Must(t, "make request", err)
	answered := make(chan harness.Response, 1)
	go func() {
		res, err := harness.Do(http.DefaultClient, req)
		if err != nil {
			res.Body = err.Error()
		}
		answered <- res
	}()
	wantUnready(t, two, "drained")
	load.done.Wait()
	res := <-answered
	if res.Status != http.StatusOK || !strings.Contains(res.Body, `"drained": true`) {
		t.Errorf("the drain: status %d %s", res.Status, res.Body)
	}
	wantLeft(t, two)
	if len(load.failed) > 0 || load.good.Load() < 50 {
		t.Errorf("%d good requests, failed: %s\n%s", load.good.Load(), strings.Join(load.failed, "\n"), two.Tail(30))
	}
	if c, err := net.Dial("tcp", two.Gateway); err == nil {
		c.Close()
		t.Error("the gateway takes connections still")
	}
	for path, want := range map[string]string{"/v1/admin/live": `"live": true`, "/v1/admin/drain": `"drained": true`, "/v1/admin/dump": two.Name} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+two.API+path, nil)
		harnesstest.Must(t, "make request", err)
		if res, err := harness.Do(http.DefaultClient, req); err != nil || res.Status != http.StatusOK || !strings.Contains(res.Body, want) {
			t.Errorf("%s of the drained agent: %d %.200s %v", path, res.Status, res.Body, err)
		}
	}
}
