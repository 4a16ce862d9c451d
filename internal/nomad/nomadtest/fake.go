package nomadtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fake is an in-memory Nomad with the part of its HTTP API that package nomad uses. It has
// no ACLs, no nodes and no allocations: no job ever runs. What it does not know is 404.
type Fake struct {
	URL string

	mu      sync.Mutex
	jobs    map[string]map[string]any // By ID; in the namespace default.
	index   uint64
	changed chan struct{} // Closed and replaced on every change.
	events  []string      // Lines of the event stream.
}

// StartFake returns an empty Nomad that ends with the test.
func StartFake(tb testing.TB) *Fake {
	f := &Fake{jobs: map[string]map[string]any{}, index: 10, changed: make(chan struct{})}
	srv := httptest.NewServer(f.routes())
	tb.Cleanup(srv.Close)
	tb.Cleanup(srv.CloseClientConnections)
	f.URL = srv.URL
	return f
}

// Jobs returns the IDs of the jobs, sorted.
func (f *Fake) Jobs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id := range f.jobs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (f *Fake) routes() http.Handler {
	mux := http.NewServeMux()
	list := func(path string, read func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { f.answer(w, r, read) })
	}
	empty := func() any { return []any{} }
	list("/v1/status/leader", func() any { return "127.0.0.1:4647" })
	list("/v1/namespaces", func() any { return []any{map[string]string{"Name": "default"}} })
	list("/v1/agent/members", func() any { return map[string]any{"Members": []any{}} })
	list("/v1/allocations", empty)
	list("/v1/evaluations", empty)
	list("/v1/nodes", empty)
	list("/v1/jobs", f.list)
	mux.HandleFunc("GET /v1/acl/token/self", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "ACL support disabled", http.StatusBadRequest)
	})
	mux.HandleFunc("GET /v1/event/stream", f.stream)
	mux.HandleFunc("POST /v1/jobs/parse", f.parse)
	mux.HandleFunc("PUT /v1/jobs/parse", f.parse)
	mux.HandleFunc("PUT /v1/jobs", f.register)
	mux.HandleFunc("POST /v1/jobs", f.register)
	mux.HandleFunc("GET /v1/job/{id}", f.job)
	mux.HandleFunc("DELETE /v1/job/{id}", f.remove)
	for _, method := range []string{"PUT", "POST"} {
		mux.HandleFunc(method+" /v1/job/{id}/plan", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"Diff":{"Type":"None"}}`)) })
		mux.HandleFunc(method+" /v1/job/{id}/scale", f.scale)
		mux.HandleFunc(method+" /v1/job/{id}/stable", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, fmt.Sprintf("job %q not found", r.PathValue("id")), http.StatusInternalServerError)
		})
	}
	return mux
}

// answer answers a read, which blocks while its index is the present one.
func (f *Fake) answer(w http.ResponseWriter, r *http.Request, read func() any) {
	index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	late := time.NewTimer(wait)
	defer late.Stop()
	for waiting := true; ; {
		f.mu.Lock()
		out, last, changed := read(), f.index, f.changed
		f.mu.Unlock()
		if index == 0 || last != index || !waiting {
			w.Header().Set("X-Nomad-Index", strconv.FormatUint(last, 10))
			_ = json.NewEncoder(w).Encode(out)
			return
		}
		select {
		case <-changed:
		case <-late.C:
			waiting = false
		case <-r.Context().Done():
			return
		}
	}
}

func (f *Fake) list() any {
	all := []any{}
	for _, j := range f.jobs {
		all = append(all, j)
	}
	return all
}

func (f *Fake) job(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, ok := f.jobs[r.PathValue("id")]
	if !ok {
		http.Error(w, "job not found", http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(j)
}

// parse reads no HCL: every job has one group with one task of the driver raw_exec.
func (f *Fake) parse(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(map[string]any{"TaskGroups": []any{map[string]any{
		"Name": "i", "Tasks": []any{map[string]any{"Name": "web", "Driver": "raw_exec", "Config": map[string]any{"command": "hello"}}},
	}}})
}

func (f *Fake) register(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Job            map[string]any
		EnforceIndex   bool
		JobModifyIndex uint64
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id, _ := req.Job["ID"].(string)
	if req.EnforceIndex && f.indexOf(id) != req.JobModifyIndex {
		http.Error(w, "Enforcing job modify index "+strconv.FormatUint(req.JobModifyIndex, 10)+": job exists with conflicting job modify index", http.StatusInternalServerError)
		return
	}
	f.store(req.Job)
	_ = json.NewEncoder(w).Encode(map[string]any{"JobModifyIndex": f.index})
}

func (f *Fake) scale(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Count          *int // Nil: a note in the job's history.
		JobModifyIndex uint64
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	j, ok := f.jobs[r.PathValue("id")]
	if !ok {
		http.Error(w, "job not found", http.StatusNotFound)
		return
	}
	if req.Count != nil {
		groups, _ := j["TaskGroups"].([]any)
		for _, g := range groups {
			g.(map[string]any)["Count"] = *req.Count
		}
		f.store(j)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"JobModifyIndex": f.index, "EvalID": "eval"})
}

func (f *Fake) remove(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.PathValue("id")
	if j, ok := f.jobs[id]; ok {
		delete(f.jobs, id)
		f.emit(j, true)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"EvalID": "eval"})
}

// indexOf is the modify index of a job; 0: there is none. The mutex is held.
func (f *Fake) indexOf(id string) uint64 {
	index, _ := f.jobs[id]["JobModifyIndex"].(uint64)
	return index
}

// store keeps a job under a new index. The mutex is held.
func (f *Fake) store(j map[string]any) {
	id, _ := j["ID"].(string)
	j["Namespace"], j["CreateIndex"] = "default", f.index+1
	if old, ok := f.jobs[id]; ok {
		j["CreateIndex"] = old["CreateIndex"]
	}
	j["JobModifyIndex"], j["ModifyIndex"] = f.index+1, f.index+1
	f.jobs[id] = j
	f.emit(j, false)
}

// emit puts a change of a job on the event stream. The mutex is held.
func (f *Fake) emit(j map[string]any, deleted bool) {
	f.index++
	payload := map[string]any{"Job": j, "Deleted": deleted}
	line, err := json.Marshal(map[string]any{"Index": f.index, "Events": []any{map[string]any{
		"Topic": "Job", "Type": "JobRegistered", "Key": j["ID"], "Namespace": "default", "Index": f.index, "Payload": payload,
	}}})
	if err != nil {
		panic(err) // It was made of JSON.
	}
	f.events = append(f.events, string(line))
	close(f.changed)
	f.changed = make(chan struct{})
}

// stream sends the events from now on, after a heartbeat.
func (f *Fake) stream(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	next := len(f.events)
	f.mu.Unlock()
	flush := http.NewResponseController(w)
	_, _ = fmt.Fprintln(w, "{}")
	for {
		_ = flush.Flush() // It fails only if the caller is gone.
		f.mu.Lock()
		lines, changed := f.events[next:], f.changed
		next = len(f.events)
		f.mu.Unlock()
		if len(lines) > 0 {
			_, _ = fmt.Fprintln(w, strings.Join(lines, "\n"))
			continue
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
