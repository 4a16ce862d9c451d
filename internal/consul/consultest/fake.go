// Package consultest has Consuls for tests: an in-memory one with the key-value store, its
// transactions and the service catalog, and a real agent as a child process.
//
// The in-memory one promises the calls that package consul makes, and refuses every other
// one.
package consultest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// Fake is an in-memory key-value store and service catalog with Consul's HTTP API.
type Fake struct {
	URL string

	mu      sync.Mutex
	pairs   map[string]pair
	index   uint64
	changed chan struct{} // Closed and replaced on every change.
	denied  string        // Prefix without rights; empty: none.
	fail    int           // Status code of every answer; 0: no failure.
	txns    int           // Number of successful transactions.
	session int           // The number of the last session.

	sessions map[string]api.SessionEntry
	services map[string]api.AgentServiceRegistration // By ID.
	lost     map[string]bool                         // IDs whose check is critical.
}

type pair struct {
	Key                      string
	Value                    []byte
	CreateIndex, ModifyIndex uint64
	Session                  string
}

// Start returns an empty store that ends with the test.
func Start(tb testing.TB) *Fake {
	f := &Fake{
		pairs: map[string]pair{}, index: 10, changed: make(chan struct{}),
		sessions: map[string]api.SessionEntry{}, services: map[string]api.AgentServiceRegistration{}, lost: map[string]bool{},
	}
	mux := http.NewServeMux()
	f.agentRoutes(mux)
	mux.HandleFunc("GET /v1/kv/{key...}", f.get)
	mux.HandleFunc("PUT /v1/kv/{key...}", f.lock)
	mux.HandleFunc("PUT /v1/session/create", f.newSession)
	mux.HandleFunc("PUT /v1/txn", f.txn)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := f.failing(); code != 0 {
			http.Error(w, "No cluster leader", code)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(srv.Close)
	tb.Cleanup(srv.CloseClientConnections)
	f.URL = srv.URL
	return f
}

// Deny takes away all rights under prefix, as Consul's ACLs do.
func (f *Fake) Deny(prefix string) { f.change(func() { f.denied = prefix }) }

// Fail makes every call fail with a status code; 0 ends that.
func (f *Fake) Fail(code int) { f.change(func() { f.fail = code }) }

// Put sets a key.
func (f *Fake) Put(key string, value []byte) {
	f.change(func() {
		f.index++
		f.pairs[key] = pair{Key: key, Value: value, ModifyIndex: f.index}
	})
}

// Remove removes a key.
func (f *Fake) Remove(key string) { f.change(func() { f.index++; delete(f.pairs, key) }) }

// Restore removes everything and starts the index again, as in a Consul that was restored
// or lost its data.
func (f *Fake) Restore() {
	f.change(func() { f.pairs, f.index = map[string]pair{}, 2 })
}

// RestoreKey sets a key to its value at an earlier index, as in a Consul that was restored
// to its state at that index.
func (f *Fake) RestoreKey(key string, value []byte, index uint64) {
	f.change(func() {
		f.index = index
		f.pairs[key] = pair{Key: key, Value: value, ModifyIndex: index}
	})
}

// Keys returns the sorted keys.
func (f *Fake) Keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ks []string
	for k := range f.pairs {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

// Txns is the number of successful transactions.
func (f *Fake) Txns() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.txns
}

func (f *Fake) failing() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail
}

func (f *Fake) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
	close(f.changed)
	f.changed = make(chan struct{})
}

// newSession makes a session, which lasts until it is destroyed.
func (f *Fake) newSession(w http.ResponseWriter, r *http.Request) {
	var s struct{ Name string }
	_ = json.NewDecoder(r.Body).Decode(&s) // A session may have no body, and no name.
	f.mu.Lock()
	defer f.mu.Unlock()
	f.session++
	id := fmt.Sprintf("session-%d", f.session)
	f.sessions[id] = api.SessionEntry{ID: id, Name: s.Name, Node: fakeNode}
	_ = json.NewEncoder(w).Encode(map[string]string{"ID": id})
}

// lock locks a key unless another session has it, or releases it.
func (f *Fake) lock(w http.ResponseWriter, r *http.Request) {
	key, q := r.PathValue("key"), r.URL.Query()
	session, release := q.Get("acquire"), q.Get("release")
	value, err := io.ReadAll(r.Body)
	if err != nil || session == "" && release == "" {
		http.Error(w, "the fake only locks", http.StatusBadRequest)
		return
	}
	done := false
	f.change(func() {
		holder := f.pairs[key].Session
		if done = holder == release || holder == "" || holder == session; done {
			f.index++
			f.pairs[key] = pair{Key: key, Value: value, ModifyIndex: f.index, Session: session}
		}
	})
	_ = json.NewEncoder(w).Encode(done)
}

// get answers a read of a key or, with recurse, of a prefix. With keys it names the keys of a
// prefix alone.
func (f *Fake) get(w http.ResponseWriter, r *http.Request) {
	key, q := r.PathValue("key"), r.URL.Query()
	_, names := q["keys"]
	_, recurse := q["recurse"]
	recurse = recurse || names
	index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		out, last, denied, changed := f.read(key, recurse)
		if index == 0 || last != index {
			if names {
				nameKeys(w, key, out, q.Get("separator"), last)
				return
			}
			answer(w, out, last, denied && !recurse)
			return
		}
		select {
		case <-changed:
			if code := f.failing(); code != 0 {
				http.Error(w, "No cluster leader", code)
				return
			}
		case <-deadline.C:
			answer(w, out, last, denied && !recurse)
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (f *Fake) read(key string, recurse bool) (out []pair, last uint64, denied bool, changed chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	denied = f.isDenied(key) // Also if the key does not exist.
	for k, p := range f.pairs {
		if k == key || recurse && strings.HasPrefix(k, key) {
			if f.isDenied(k) {
				continue
			}
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b pair) int { return strings.Compare(a.Key, b.Key) })
	return out, f.index, denied, f.changed
}

func (f *Fake) isDenied(key string) bool { return f.denied != "" && strings.HasPrefix(key, f.denied) }

// nameKeys answers with the keys below a prefix alone; with a separator with the one name that
// stands for all.
func nameKeys(w http.ResponseWriter, prefix string, pairs []pair, separator string, index uint64) {
	w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	all := []string{}
	for _, p := range pairs {
		if separator != "" {
			all = append(all, prefix+separator)
			break
		}
		all = append(all, p.Key)
	}
	_ = json.NewEncoder(w).Encode(all) // It fails only if the client is gone.
}

func answer(w http.ResponseWriter, out []pair, index uint64, denied bool) {
	w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	switch {
	case denied:
		http.Error(w, "Permission denied: token lacks permission 'key:read'", http.StatusForbidden)
	case len(out) == 0:
		http.Error(w, "", http.StatusNotFound)
	default:
		_ = json.NewEncoder(w).Encode(out)
	}
}
