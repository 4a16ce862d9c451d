package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// memoryNomad answers the calls of an agent as Nomad does, from memory: what is scaled up is
// placed and runs at once. It has no rights, no nodes and no tasks.
type memoryNomad struct {
	metricsPort func(n int) int // Of the n-th instance.
	trafficPort int

	mu      sync.Mutex
	index   uint64
	jobs    map[string]*memoryJob
	ids     []string // Of the jobs, sorted.
	placed  int      // Instances so far.
	changed chan struct{}
	events  [][]byte // Lines of the event stream.
}

type memoryJob struct {
	job    map[string]any
	count  int
	index  uint64
	allocs []map[string]any
	scaled time.Time
}

func newMemoryNomad() *memoryNomad {
	return &memoryNomad{index: 100, jobs: map[string]*memoryJob{}, changed: make(chan struct{}), trafficPort: 9}
}

// register adds a job.
func (m *memoryNomad) register(raw json.RawMessage) error {
	var j map[string]any
	if err := json.Unmarshal(raw, &j); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	id, _ := j["ID"].(string)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index++
	if m.jobs[id] == nil {
		at, _ := slices.BinarySearch(m.ids, id)
		m.ids = slices.Insert(m.ids, at, id)
	}
	j["CreateIndex"] = m.index
	m.jobs[id] = &memoryJob{job: j, index: m.index, scaled: time.Now()}
	m.tell("Job", id, map[string]any{"Job": m.describe(m.jobs[id])})
	return nil
}

// describe is a job as Nomad shows it. The caller holds mu.
func (m *memoryNomad) describe(j *memoryJob) map[string]any {
	out := maps.Clone(j.job)
	out["JobModifyIndex"], out["ModifyIndex"], out["Namespace"], out["Status"] = j.index, j.index, "default", "running"
	out["TaskGroups"] = []any{map[string]any{"Name": wadi.GroupInstance, "Count": j.count}}
	return out
}

// tell adds an event. The caller holds mu.
func (m *memoryNomad) tell(topic, key string, payload any) {
	line, err := json.Marshal(map[string]any{"Index": m.index, "Events": []any{map[string]any{
		"Topic": topic, "Type": topic + "Updated", "Key": key, "Namespace": "default", "Index": m.index, "Payload": payload,
	}}})
	if err != nil {
		return // It has only what JSON has.
	}
	m.events = append(m.events, append(line, '\n'))
	close(m.changed)
	m.changed = make(chan struct{})
}

// scale sets a count; false: the job is at another index.
func (m *memoryNomad) scale(id string, count int, index uint64) (uint64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.jobs[id]
	if j == nil || index != 0 && j.index != index {
		return 0, false
	}
	m.index++
	j.count, j.index, j.scaled = count, m.index, time.Now()
	m.tell("Job", id, map[string]any{"Job": m.describe(j)})
	for len(j.allocs) < count {
		m.index++
		a := m.allocation(id, len(j.allocs))
		j.allocs = append(j.allocs, a)
		m.tell("Allocation", a["ID"].(string), map[string]any{"Allocation": a})
	}
	for len(j.allocs) > count {
		m.index++
		a := maps.Clone(j.allocs[len(j.allocs)-1])
		j.allocs = j.allocs[:len(j.allocs)-1]
		a["DesiredStatus"], a["ClientStatus"], a["ModifyIndex"] = "stop", "complete", m.index
		m.tell("Allocation", a["ID"].(string), map[string]any{"Allocation": a})
	}
	return j.index, true
}

// scaleInstance is the name of the n-th instance, and the address at which it serves.
func scaleInstance(n int) (id, ip string) {
	return fmt.Sprintf("00000000-0000-4000-8000-%012x", n), net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n)).String()
}

func (m *memoryNomad) allocation(job string, n int) map[string]any {
	id, ip := scaleInstance(m.placed)
	state := map[string]any{"State": "running", "StartedAt": time.Now()}
	a := map[string]any{
		"ID": id, "Name": fmt.Sprintf("%s.%s[%d]", job, wadi.GroupInstance, n), "Namespace": "default", "JobID": job, "TaskGroup": wadi.GroupInstance,
		"NodeID": "11111111-1111-4111-8111-111111111111", "DesiredStatus": "run", "ClientStatus": "running",
		"CreateIndex": m.index, "ModifyIndex": m.index, "CreateTime": time.Now().UnixNano(), "ModifyTime": time.Now().UnixNano(),
		"TaskStates": map[string]any{"web": state, wadi.TaskQueueProxy: state},
		"AllocatedResources": map[string]any{"Shared": map[string]any{"Ports": []any{
			map[string]any{"Label": wadi.PortTraffic, "HostIP": ip, "Value": m.trafficPort},
			map[string]any{"Label": wadi.PortMetrics, "HostIP": ip, "Value": m.metricsPort(m.placed)},
		}}},
	}
	m.placed++
	return a
}

func (m *memoryNomad) handler() http.Handler {
	mux := http.NewServeMux()
	list := func(pattern string, read func(r *http.Request) any) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			m.mu.Lock()
			v, index := read(r), m.index
			m.mu.Unlock()
			m.answer(w, v, index)
		})
	}
	none := func(*http.Request) any { return []any{} }
	list("/v1/status/leader", func(*http.Request) any { return "127.0.0.1:4647" })
	list("/v1/namespaces", func(*http.Request) any { return []any{map[string]string{"Name": "default"}} })
	list("/v1/agent/members", func(*http.Request) any { return map[string]any{"Members": []any{}} })
	list("/v1/evaluations", none)
	list("/v1/jobs", m.listJobs)
	mux.HandleFunc("GET /v1/allocations", m.listAllocations)
	mux.HandleFunc("GET /v1/nodes", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") > "0" { // No node changes.
			select {
			case <-r.Context().Done():
			case <-time.After(45 * time.Second):
			}
		}
		m.answer(w, []any{}, 7)
	})
	list("/v1/job/{id}", func(r *http.Request) any {
		if j := m.jobs[r.PathValue("id")]; j != nil {
			return m.describe(j)
		}
		return nil
	})
	list("/v1/job/{id}/scale", func(r *http.Request) any {
		j := m.jobs[r.PathValue("id")]
		if j == nil {
			return nil
		}
		return map[string]any{"TaskGroups": map[string]any{wadi.GroupInstance: map[string]any{"Events": []any{
			map[string]any{"Count": j.count, "Time": j.scaled.UnixNano(), "Meta": map[string]any{"by": "wadi"}},
		}}}}
	})
	mux.HandleFunc("POST /v1/job/{id}/plan", func(w http.ResponseWriter, r *http.Request) { m.plan(w, r) })
	scale := func(w http.ResponseWriter, r *http.Request) { m.scaleJob(w, r) }
	mux.HandleFunc("PUT /v1/job/{id}/scale", scale)
	mux.HandleFunc("POST /v1/job/{id}/scale", scale)
	mux.HandleFunc("GET /v1/event/stream", m.stream)
	return mux
}

func (m *memoryNomad) answer(w http.ResponseWriter, v any, index uint64) {
	if v == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Nomad-Index", strconv.FormatUint(index, 10))
	w.Header().Set("X-Nomad-LastContact", "0") // Without these two Nomad's client reads no other header.
	w.Header().Set("X-Nomad-KnownLeader", "true")
	_ = json.NewEncoder(w).Encode(v) // The agent may have gone.
}

// listJobs is called with mu held.
func (m *memoryNomad) listJobs(r *http.Request) any {
	out := []any{}
	for _, id := range m.ids {
		if !strings.HasPrefix(id, r.URL.Query().Get("prefix")) {
			continue
		}
		j := m.jobs[id]
		out = append(out, map[string]any{
			"ID": id, "Namespace": "default", "JobModifyIndex": j.index, "ModifyIndex": j.index, "CreateIndex": j.job["CreateIndex"],
			"Meta": j.job["Meta"], "Status": "running", "Type": "service",
		})
		if r.URL.Query().Get("per_page") == "1" {
			break
		}
	}
	return out
}

func (m *memoryNomad) listAllocations(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	all := []any{}
	for _, id := range m.ids {
		for _, a := range m.jobs[id].allocs {
			all = append(all, a)
		}
	}
	index := m.index
	m.mu.Unlock()
	from, _ := strconv.Atoi(r.URL.Query().Get("next_token")) // Empty: from the first.
	if n, err := strconv.Atoi(r.URL.Query().Get("per_page")); err == nil && from+n < len(all) {
		w.Header().Set("X-Nomad-NextToken", strconv.Itoa(from+n))
		all = all[:from+n]
	}
	m.answer(w, all[from:], index)
}

func (m *memoryNomad) plan(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.jobs[r.PathValue("id")]
	if j == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	m.answer(w, map[string]any{"JobModifyIndex": j.index, "Diff": map[string]any{"Type": "None"}}, m.index)
}

func (m *memoryNomad) scaleJob(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Count          *int
		JobModifyIndex uint64
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if req.Count == nil { // A note in the history.
		m.answer(w, map[string]any{}, 1)
		return
	}
	index, ok := m.scale(r.PathValue("id"), *req.Count, req.JobModifyIndex)
	if !ok {
		http.Error(w, "job version has changed: EnforceIndex", http.StatusInternalServerError)
		return
	}
	m.answer(w, map[string]any{"JobModifyIndex": index, "EvalID": "e"}, index)
}

// stream sends the events from now on, and a heartbeat now and every 10 s.
func (m *memoryNomad) stream(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	next := len(m.events)
	m.mu.Unlock()
	flusher := http.NewResponseController(w)
	beat := time.NewTicker(10 * time.Second)
	defer beat.Stop()
	lines := [][]byte{[]byte("{}\n")}
	for r.Context().Err() == nil {
		for _, line := range lines {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
		if flusher.Flush() != nil {
			return
		}
		m.mu.Lock()
		lines, next = m.events[next:], len(m.events)
		changed := m.changed
		m.mu.Unlock()
		if len(lines) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-beat.C:
			lines = [][]byte{[]byte("{}\n")}
		case <-r.Context().Done():
		}
	}
}

// place sets the count of every job at once, before an agent looks.
func (m *memoryNomad) place(count, most int) (placed int) {
	m.mu.Lock()
	ids := slices.Clone(m.ids)
	m.mu.Unlock()
	for _, id := range ids {
		if n := min(count, most-placed); n > 0 {
			m.scale(id, n, 0)
			placed += n
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = nil // Nobody listens yet.
	return placed
}
