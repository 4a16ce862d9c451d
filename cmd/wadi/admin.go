package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// admin is the admin plane of the agent. The API's server lets loopback callers
// in, and those whose token may.
func (n *node) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/admin/live", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]bool{"live": true}) })
	mux.HandleFunc("GET /v1/admin/dump", n.dump)
	mux.HandleFunc("PUT /v1/admin/drain", n.drain)
	mux.HandleFunc("POST /v1/admin/drain", n.drain)
	mux.HandleFunc("GET /v1/admin/log-level", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"level": n.log.GetLevel().String()})
	})
	mux.HandleFunc("PUT /v1/admin/log-level", n.setLogLevel)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	return mux
}

// drain makes this agent take no more requests, and answers when those that it has
// are done. Mesh callers are sent to other agents first. The process goes on: stop
// it then, or restart it.
func (n *node) drain(w http.ResponseWriter, r *http.Request) {
	n.drainOnce.Do(func() {
		n.log.Info("draining", "reason", "asked for through the API")
		close(n.draining)
	})
	if err := n.activator.Drain(r.Context()); err != nil {
		http.Error(w, "requests are still in flight: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	writeJSON(w, map[string]bool{"drained": true})
}

// isDraining reports whether drain was called.
func (n *node) isDraining() bool {
	select {
	case <-n.draining:
		return true
	default:
		return false
	}
}

// setLogLevel takes {"level": "debug"} or the bare word.
func (n *node) setLogLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
	if err != nil {
		http.Error(w, "the body is larger than 1 KiB", http.StatusRequestEntityTooLarge)
		return
	}
	word := strings.TrimSpace(string(body))
	var obj struct{ Level string }
	if json.Unmarshal(body, &obj) == nil && obj.Level != "" {
		word = obj.Level
	}
	level := hclog.LevelFromString(word)
	if level == hclog.NoLevel {
		http.Error(w, "level is one of trace, debug, info, warn, error, off", http.StatusBadRequest)
		return
	}
	n.log.SetLevel(level)
	writeJSON(w, map[string]string{"level": level.String()})
}

// dump shows what this agent knows: routes, instances, jobs and what is in
// flight or waiting.
func (n *node) dump(w http.ResponseWriter, _ *http.Request) {
	type revision struct {
		Instances []wadi.Endpoint `json:"instances"`
		Trouble   string          `json:"trouble,omitempty"`
		Job       any             `json:"job"`
		Held      float64         `json:"held"` // Requests waiting or in flight here, in the last whole second.
	}
	held := map[string]float64{}
	for _, r := range n.activator.Recorders() {
		st := r.Snapshot(0)
		if k := len(st.Samples); k > 0 {
			held[st.Revision] = st.Samples[k-1].Concurrency
		}
	}
	cluster := loopCluster{n.watcher}
	revisions := map[string]revision{}
	routes := *n.routes.Load()
	for _, route := range routes {
		for id := range route.Revisions {
			eps, _ := cluster.Endpoints(id)
			why, _ := cluster.Trouble(id)
			revisions[id] = revision{eps, why, cluster.Job(id), held[id]}
		}
	}
	leader, _ := n.Leader()
	writeJSON(w, map[string]any{
		"name": n.cfg.Name, "leader": leader, "problems": n.problems(), "last_contact_nomad": n.watcher.LastContact().UTC().Format(time.RFC3339Nano),
		"agents": *n.agents.Load(), "routes": routes, "revisions": revisions,
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // The caller is gone if this fails.
}
