//go:build e2e

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// streamless is a proxy for Nomad whose event stream can be cut off.
type streamless struct {
	proxy *httputil.ReverseProxy

	mu      sync.Mutex
	away    bool
	refused int
	streams map[context.Context]context.CancelFunc
}

func newStreamless(t *testing.T) (*streamless, string) {
	t.Helper()
	nomad, err := url.Parse(stack.Cluster.NomadAddr)
	harnesstest.Must(t, "read Nomad's address", err)
	s := &streamless{proxy: httputil.NewSingleHostReverseProxy(nomad), streams: map[context.Context]context.CancelFunc{}}
	s.proxy.FlushInterval = -1
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return s, server.URL
}

func (s *streamless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/event/stream" {
		s.proxy.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s.mu.Lock()
	away := s.away
	if away {
		s.refused++
	} else {
		s.streams[ctx] = cancel
	}
	s.mu.Unlock()
	if away {
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
		return
	}
	defer func() {
		s.mu.Lock()
		delete(s.streams, ctx)
		s.mu.Unlock()
		// A cut-off response ends with a panic.
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	s.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// take ends the streams, and refuses new ones until give.
func (s *streamless) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
	for _, cancel := range s.streams {
		cancel()
	}
}

func (s *streamless) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
}

// A request wakes its service while the agent's event stream is away, however long: the
// agent asks Nomad itself. The request is answered as soon as the stream shows the
// instance.
func TestStreamAway_Wakes(t *testing.T) {
	s, addr := newStreamless(t)
	agent, err := stack.NewAgent("wadi-streamless", fmt.Sprintf("nomad {\n  address = %q\n}\n", addr))
	harnesstest.Must(t, "configure an agent", err)
	harnesstest.Must(t, "start it", agent.Start(t.Context()))
	t.Cleanup(func() {
		s.give()
		harnesstest.Must(t, "stop it", agent.Stop(context.WithoutCancel(t.Context())))
	})
	harnesstest.Must(t, "wait for it", agent.WaitLeader(t.Context()))
	stack.Deploy(t, harnesstest.Hello("streamless", `window = "6s"`, ""))
	for _, away := range []time.Duration{0, 12 * time.Second} { // Within the watcher's grace, and beyond it.
		eventually(t, harnesstest.WaitLong, func() error { return through(agent, "streamless", "/")(t.Context()) })
		stack.ToZero(t, "streamless-00001")
		s.take()
		wantRefused(t, s)
		pause(t, away)
		answers := make(chan harness.Response, 1)
		failures := make(chan error, 1)
		go func() {
			res, err := agent.Get(t.Context(), "streamless", "/")
			failures <- err
			answers <- res
		}()
		harnesstest.Must(t, "wait for the wake", stack.WaitCount(t.Context(), "streamless-00001", harnesstest.WaitLong, func(n int) bool { return n > 0 }))
		select {
		case err := <-failures:
			t.Errorf("answered (%v) though nothing tells where the instance is", err)
			failures <- err
		default:
		}
		s.give()
		if err, res := <-failures, <-answers; err != nil || res.Status != 200 {
			t.Errorf("after %v without the stream: got status %d, error %v: %s", away, res.Status, err, res.Body)
		}
	}
}

// wantRefused waits until the agent was refused a stream.
func wantRefused(t *testing.T, s *streamless) {
	t.Helper()
	s.mu.Lock()
	before := s.refused
	s.mu.Unlock()
	eventually(t, harnesstest.WaitLong, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.refused == before {
			return errors.New("the agent has not asked for its stream")
		}
		return nil
	})
}
