// Package consultest has Consuls for tests: an in-memory one that knows the
// key-value store and its transactions, and a real agent as a child process.
//
// The in-memory one refuses what it does not know; it promises no more than the
// calls that package consul makes.
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
)

// Fake is an in-memory key-value store with Consul's HTTP API.
type Fake struct {
	URL string

	mu      sync.Mutex
	pairs   map[string]pair
	index   uint64
	changed chan struct{} // Closed and replaced on every change.
	denied  string        // Prefix without rights; empty is none.
	fail    int           // Status code of every answer; 0 is none.
	txns    int           // Transactions that were done.
	session int           // The last one that was made.
}

type pair struct {
	Key                      string
	Value                    []byte
	CreateIndex, ModifyIndex uint64
	Session                  string
}

// Start returns an empty store that ends with the test.
func Start(tb testing.TB) *Fake {
	f := &Fake{pairs: map[string]pair{}, index: 10, changed: make(chan struct{})}
	mux := http.NewServeMux()
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

// Restore forgets everything, and that there ever was something: the index
// begins again, as in a Consul that was restored or lost its data.
func (f *Fake) Restore() {
	f.change(func() { f.pairs, f.index = map[string]pair{}, 2 })
}

// RestoreKey sets a key to what it was at an earlier index, as in a Consul that was restored to
// its state of then.
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

// Txns is how many transactions were done.
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
func (f *Fake) newSession(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.session++
	_ = json.NewEncoder(w).Encode(map[string]string{"ID": fmt.Sprintf("session-%d", f.session)})
}

// lock locks a key that nobody else has, or releases it.
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

// get answers a read of a key or, with recurse, of a prefix.
func (f *Fake) get(w http.ResponseWriter, r *http.Request) {
	key, q := r.PathValue("key"), r.URL.Query()
	_, recurse := q["recurse"]
	index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		out, last, denied, changed := f.read(key, recurse)
		if index == 0 || last != index {
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
	denied = f.isDenied(key) // Also of a key that is not there.
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

type op struct {
	Verb, Key string
	Value     []byte
	Index     uint64
	Session   string
}

type txnError struct {
	OpIndex int
	What    string
}

// txn does all operations on a copy, and keeps it when none failed.
func (f *Fake) txn(w http.ResponseWriter, r *http.Request) {
	var ops []struct{ KV op }
	if err := json.NewDecoder(r.Body).Decode(&ops); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next := map[string]pair{}
	for k, p := range f.pairs {
		next[k] = p
	}
	type result struct{ KV pair }
	var results []result
	var errs []txnError
	for i, o := range ops {
		got, err := f.apply(next, o.KV)
		if err != nil {
			errs = append(errs, txnError{i, err.Error()})
		}
		for _, p := range got {
			results = append(results, result{p})
		}
	}
	if len(errs) > 0 {
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(map[string]any{"Errors": errs})
		return
	}
	f.pairs, f.txns = next, f.txns+1
	f.index++
	close(f.changed)
	f.changed = make(chan struct{})
	_ = json.NewEncoder(w).Encode(map[string]any{"Results": results})
}

func (f *Fake) apply(m map[string]pair, o op) ([]pair, error) {
	if f.isDenied(o.Key) {
		return nil, fmt.Errorf("key %q: Permission denied: token lacks permission 'key:write'", o.Key)
	}
	old, exists := m[o.Key]
	switch o.Verb {
	case "cas", "delete-cas":
		if old.ModifyIndex != o.Index && (exists || o.Verb == "cas") {
			return nil, fmt.Errorf("failed to %s key %q, index is stale", o.Verb, o.Key)
		}
	case "get":
		if !exists {
			return nil, fmt.Errorf("key %q doesn't exist", o.Key)
		}
		return []pair{old}, nil
	case "check-index":
		if !exists || old.ModifyIndex != o.Index {
			return nil, fmt.Errorf("failed index check for key %q, index is stale", o.Key)
		}
		return []pair{old}, nil
	case "check-session":
		if !exists || old.Session != o.Session {
			return nil, fmt.Errorf("failed session check for key %q, current session %q != %q", o.Key, old.Session, o.Session)
		}
		return []pair{old}, nil
	case "get-or-empty":
		old.Key = o.Key
		return []pair{old}, nil
	case "check-not-exists":
		if exists {
			return nil, fmt.Errorf("key %q exists", o.Key)
		}
		return nil, nil
	}
	switch o.Verb {
	case "set", "cas":
		p := pair{Key: o.Key, Value: o.Value, CreateIndex: old.CreateIndex, ModifyIndex: f.index + 1}
		m[o.Key] = p
		p.Value = nil
		return []pair{p}, nil
	case "delete", "delete-cas":
		delete(m, o.Key)
		return nil, nil
	case "delete-tree", "get-tree":
		var out []pair
		for k, p := range m {
			if !strings.HasPrefix(k, o.Key) {
				continue
			}
			if o.Verb == "delete-tree" {
				delete(m, k)
				continue
			}
			out = append(out, p)
		}
		return out, nil
	}
	return nil, fmt.Errorf("unknown verb %q", o.Verb)
}
