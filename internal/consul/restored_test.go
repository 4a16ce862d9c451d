package consul_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/consul"
)

// lockServer is a fake Consul with one key, the lock, and sessions that end only when they
// are destroyed.
type lockServer struct {
	mu       sync.Mutex
	index    uint64
	holder   string
	sessions map[string]string // Names by ID.
	made     int
	changed  chan struct{}
}

func (s *lockServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/agent/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("PUT /v1/session/create", func(w http.ResponseWriter, r *http.Request) {
		var e api.SessionEntry
		_ = json.NewDecoder(r.Body).Decode(&e)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.made++
		id := fmt.Sprintf("session-%d", s.made)
		s.sessions[id] = e.Name
		_ = json.NewEncoder(w).Encode(map[string]string{"ID": id})
	})
	mux.HandleFunc("GET /v1/session/info/{id}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		out := []api.SessionEntry{}
		if name, ok := s.sessions[r.PathValue("id")]; ok {
			out = append(out, api.SessionEntry{ID: r.PathValue("id"), Name: name, Node: "node"})
		}
		_ = json.NewEncoder(w).Encode(out)
	})
	mux.HandleFunc("PUT /v1/session/destroy/{id}", func(w http.ResponseWriter, r *http.Request) {
		s.change(func() {
			delete(s.sessions, r.PathValue("id"))
			if s.holder == r.PathValue("id") {
				s.holder, s.index = "", s.index+1
			}
		})
		_, _ = w.Write([]byte("true"))
	})
	mux.HandleFunc("PUT /v1/kv/lock", s.lock)
	mux.HandleFunc("GET /v1/kv/lock", s.get)
	return mux
}

func (s *lockServer) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *lockServer) lock(w http.ResponseWriter, r *http.Request) {
	acquire, release := r.URL.Query().Get("acquire"), r.URL.Query().Get("release")
	done, known := false, true
	s.change(func() {
		_, known = s.sessions[acquire]
		switch {
		case acquire != "" && known && s.holder == "":
			s.holder, s.index, done = acquire, s.index+1, true
		case release != "" && s.holder == release:
			s.holder, s.index, done = "", s.index+1, true
		}
	})
	if acquire != "" && !known {
		http.Error(w, "invalid session", http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(done)
}

// get answers when the index differs from the requested one, or after a while.
func (s *lockServer) get(w http.ResponseWriter, r *http.Request) {
	asked, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	s.mu.Lock()
	index, changed := s.index, s.changed
	s.mu.Unlock()
	if asked != 0 && index == asked {
		select {
		case <-changed:
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("X-Consul-Index", strconv.FormatUint(s.index, 10))
	_ = json.NewEncoder(w).Encode([]map[string]any{{"Key": "lock", "ModifyIndex": s.index, "Session": s.holder}})
}

// Consul is restored to a state in which an earlier run of the agent led. Its session is
// valid again, and would stay so, as the agent itself passes the session's check.
func TestElect_RestoredWithASessionOfAnEarlierRun(t *testing.T) {
	for name, other := range map[string]bool{"as it leads": false, "as another leads": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &lockServer{index: 100, sessions: map[string]string{}, changed: make(chan struct{})}
				if other {
					s.holder, s.sessions["another"] = "another", "wadi:two"
				}
				p := &consul.Presence{
					Client: consul.NewForTest(t, inProcess{s.handler()}), Log: hclog.NewNullLogger(),
					Service: consul.AgentRegistration("one", "127.0.0.1", 4747, nil),
				}
				ctx, cancel := context.WithCancel(t.Context())
				var g sync.WaitGroup
				g.Go(func() { _ = p.Run(ctx) })
				led := make(chan struct{}, 100)
				g.Go(func() {
					_ = p.Elect(ctx, "lock", "", func(ctx context.Context, _ *consul.Term) error {
						led <- struct{}{}
						<-ctx.Done()
						return nil
					})
				})
				time.Sleep(10 * time.Second)
				if got := len(led) == 1; got == other {
					t.Fatalf("leads is %t", got)
				}
				s.change(func() {
					s.index, s.holder, s.sessions = 50, "before", map[string]string{"before": p.Service.ID}
				})
				before := len(led)
				time.Sleep(5 * time.Minute)
				if len(led) != before+1 {
					t.Errorf("it began to lead %d times after that, want once", len(led)-before)
				}
				cancel()
				g.Wait()
			})
		})
	}
}
