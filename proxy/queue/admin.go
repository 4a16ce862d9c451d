package queue

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/hashicorp/go-hclog"
)

// Bounds of the admin plane.
const (
	maxDumped   = 1000    // Requests in a dump.
	maxLevelSet = 1 << 10 // Bytes of a request that sets the log level.
)

// adminHandler is the admin plane. It is not authenticated: its listener is on
// loopback.
func (p *Proxy) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/admin/live", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "live\n")
	})
	mux.HandleFunc("PUT /v1/admin/drain", p.adminDrain)
	mux.HandleFunc("POST /v1/admin/drain", p.adminDrain)
	mux.HandleFunc("GET /v1/admin/log-level", p.adminLevel)
	mux.HandleFunc("PUT /v1/admin/log-level", p.adminSetLevel)
	mux.HandleFunc("GET /v1/admin/dump", p.adminDump)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// adminDrain begins a drain and answers when the last request is answered. The
// process stays until it is told to end: it would be restarted otherwise.
func (p *Proxy) adminDrain(w http.ResponseWriter, r *http.Request) {
	p.startDrain()
	if p.drained(r.Context()) == nil {
		_, _ = io.WriteString(w, "drained\n")
	}
}

// levelBody is the log level as the admin plane reads and writes it.
type levelBody struct {
	Level string `json:"level"`
}

func (p *Proxy) adminLevel(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, levelBody{p.log.GetLevel().String()})
}

func (p *Proxy) adminSetLevel(w http.ResponseWriter, r *http.Request) {
	var body levelBody
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLevelSet)).Decode(&body)
	level := hclog.LevelFromString(body.Level)
	if err != nil || level == hclog.NoLevel {
		http.Error(w, `want {"level": "trace | debug | info | warn | error | off"}`, http.StatusBadRequest)
		return
	}
	p.log.SetLevel(level)
	writeJSON(w, levelBody{level.String()})
}

// dump is what the queue-proxy does at the moment.
type dump struct {
	Service  string          `json:"service"`
	Revision string          `json:"revision"`
	Instance string          `json:"instance"`
	Ready    bool            `json:"ready"`
	Draining bool            `json:"draining"`
	InFlight int             `json:"in_flight"`
	Waiting  int             `json:"waiting"`
	Requests []dumpedRequest `json:"requests"` // The oldest first, and not all of very many.
}

func (p *Proxy) adminDump(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, dump{
		Service: p.cfg.Service, Revision: p.cfg.Revision, Instance: p.cfg.Instance,
		Ready: p.isReady(), Draining: p.drain.hasBegun(),
		InFlight: p.limiter.InFlight(), Waiting: p.limiter.Waiting(),
		Requests: p.live.oldest(maxDumped),
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // The reader has gone.
}
