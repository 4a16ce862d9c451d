package consultest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

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

// txn does all operations on a copy, which replaces the pairs if none failed.
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
	if slices.ContainsFunc(ops, func(o struct{ KV op }) bool { return !reads[o.KV.Verb] }) {
		f.pairs, f.txns = next, f.txns+1
		f.index++
		close(f.changed)
		f.changed = make(chan struct{})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Results": results})
}

// reads are the verbs that change nothing: nor does a transaction of them alone, and Txns
// does not count it.
var reads = map[string]bool{"get": true, "get-or-empty": true, "get-tree": true, "check-index": true, "check-session": true, "check-not-exists": true}

// apply does one operation on the pairs m, and returns the pairs of its answer.
func (f *Fake) apply(m map[string]pair, o op) ([]pair, error) {
	if f.isDenied(o.Key) {
		return nil, fmt.Errorf("key %q: Permission denied: token lacks permission 'key:write'", o.Key)
	}
	old, exists := m[o.Key]
	switch o.Verb {
	case "get", "get-or-empty", "check-index", "check-session", "check-not-exists":
		return o.read(old, exists)
	case "get-tree":
		var out []pair
		for k, p := range m {
			if strings.HasPrefix(k, o.Key) {
				out = append(out, p)
			}
		}
		return out, nil
	}
	return f.write(m, o)
}

// read does an operation that changes nothing. old is the key's pair, if it exists.
func (o op) read(old pair, exists bool) ([]pair, error) {
	switch o.Verb {
	case "get":
		if !exists {
			return nil, fmt.Errorf("key %q doesn't exist", o.Key)
		}
	case "check-index":
		if !exists || old.ModifyIndex != o.Index {
			return nil, fmt.Errorf("failed index check for key %q, index is stale", o.Key)
		}
	case "check-session":
		if !exists || old.Session != o.Session {
			return nil, fmt.Errorf("failed session check for key %q, current session %q != %q", o.Key, old.Session, o.Session)
		}
	case "check-not-exists":
		if exists {
			return nil, fmt.Errorf("key %q exists", o.Key)
		}
		return nil, nil
	}
	old.Key = o.Key
	return []pair{old}, nil
}

// write does an operation that may change m.
func (f *Fake) write(m map[string]pair, o op) ([]pair, error) {
	old, exists := m[o.Key]
	switch o.Verb {
	case "cas", "delete-cas":
		if old.ModifyIndex != o.Index && (exists || o.Verb == "cas") {
			return nil, fmt.Errorf("failed to %s key %q, index is stale", o.Verb, o.Key)
		}
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
	case "delete-tree":
		maps.DeleteFunc(m, func(k string, _ pair) bool { return strings.HasPrefix(k, o.Key) })
		return nil, nil
	}
	return nil, fmt.Errorf("unknown verb %q", o.Verb)
}
