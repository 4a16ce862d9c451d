package assets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Path is where agents serve the programs: the list, and below it each by its checksum.
const Path = "/v1/assets/" + Program

// HeaderPeer marks a request of another agent, for which nobody else is asked in turn.
const HeaderPeer = "Wadi-Asset-Peer"

// The bounds of downloads.
const (
	maxDownloads = 32               // At once.
	maxPerHost   = 8                // Of them, of one address.
	maxBusyHost  = 2                // Of them, of one address while few turns are left.
	fewTurns     = 8                // So many are left then: others than four slow addresses find a turn.
	maxQueued    = 128              // Requests that wait for their turn.
	maxHostQueue = 32               // Of them, of one address.
	turnTimeout  = 10 * time.Second // For which they wait.
	sendTimeout  = 2 * time.Minute  // Of a whole answer, however slowly it is read.
	fetchTimeout = 30 * time.Second // For which a request waits until another agent has answered.
)

// Handler serves the programs of a store to everybody: they are no secret.
type Handler struct {
	Store *Store
	// Fetch gets a program from another agent into the store, if a stored revision names
	// it. Nil: there are no others.
	Fetch func(ctx context.Context, sum string) error

	turns    *turns
	requests *prometheus.CounterVec
}

// NewHandler returns a handler, and registers its metrics.
func NewHandler(s *Store, fetch func(context.Context, string) error, reg prometheus.Registerer) *Handler {
	h := &Handler{Store: s, Fetch: fetch, turns: newTurns(), requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_asset_requests_total", Help: "Requests for programs that Nomad's clients fetch: served, missing, busy, refused or failed.",
	}, []string{"result"})}
	reg.MustRegister(h.requests, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wadi_asset_downloads_in_flight", Help: "Programs that are being sent.",
	}, h.turns.running))
	return h
}

// Register adds the paths to a multiplexer.
func (h *Handler) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+Path, h.counted(h.list))
	mux.HandleFunc("GET "+Path+"/{sum}", h.counted(h.send))
}

// refusal is an answer other than the program.
type refusal struct {
	status  int
	message string
}

func (r refusal) Error() string { return r.message }

// results are the label of each status.
var results = map[int]string{
	http.StatusBadRequest: "refused", http.StatusNotFound: "missing",
	http.StatusServiceUnavailable: "busy", http.StatusInternalServerError: "failed",
}

func (h *Handler) counted(next func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		result := "served"
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := next(w, r); err != nil {
			refused := refusal{http.StatusInternalServerError, "the program can't be read; the agent's log says why"}
			if !errors.As(err, &refused) {
				h.Store.o.Log.Error("a program can't be served", "error", err)
			}
			result = results[refused.status]
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Type", "application/json")
			if refused.status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "1")
			}
			w.WriteHeader(refused.status)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": refused.message})
		}
		h.requests.WithLabelValues(result).Inc()
	}
}

// list answers with what is there, of one platform if the query says which.
func (h *Handler) list(w http.ResponseWriter, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refusal{http.StatusBadRequest, "the query can't be read"}
	}
	for name, values := range query {
		if !slices.Contains([]string{"os", "arch"}, name) || len(values) != 1 || values[0] == "" {
			return refusal{http.StatusBadRequest, fmt.Sprintf("the parameters are os and arch, once each, and %.64q is not", name)}
		}
	}
	all, err := h.Store.List()
	if err != nil {
		return err
	}
	is := func(name, value string) bool { return query.Get(name) == "" || query.Get(name) == value }
	all = slices.DeleteFunc(all, func(a Asset) bool { return !is("os", a.OS) || !is("arch", a.Arch) })
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string][]Asset{"assets": append([]Asset{}, all...)}) // The caller is gone.
	return nil
}

// send answers with a program, or a part of it.
func (h *Handler) send(w http.ResponseWriter, r *http.Request) error {
	sum := r.PathValue("sum")
	if !Sum(sum) {
		return refusal{http.StatusNotFound, "a program is named by its SHA-256 sum, 64 digits of 0-9 and a-f"}
	}
	if r.URL.RawQuery != "" {
		return refusal{http.StatusBadRequest, "this path has no parameters"}
	}
	if r.Method != http.MethodHead {
		leave, err := h.turns.take(r.Context(), hostOf(r))
		if err != nil {
			return refusal{http.StatusServiceUnavailable, "too many programs are being sent; try again"}
		}
		defer leave()
	}
	f, err := h.Store.Open(sum)
	// A question for the head holds no turn, so it starts nothing: Nomad asks for the whole next.
	if h.Fetch != nil && r.Method != http.MethodHead && r.Header.Get(HeaderPeer) == "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrChecksum)) {
		if err := h.fetch(r.Context(), sum); err != nil {
			h.Store.o.Log.Debug("a program that is asked for is not there", "sum", sum, "error", err)
			return refusal{http.StatusNotFound, fmt.Sprintf("no agent has the %s %s, or no revision names it; wadi doctor says more", Program, sum)}
		}
		f, err = h.Store.Open(sum)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrChecksum):
		return refusal{http.StatusNotFound, fmt.Sprintf("this agent does not have the %s %s", Program, sum)}
	case err != nil:
		return err
	}
	defer func() { _ = f.Close() }()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout)) // Recorders in tests don't support it.
	head := w.Header()
	head.Set("ETag", `"`+sum+`"`)
	head.Set("Cache-Control", "public, max-age=31536000, immutable")
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", `attachment; filename="`+Program+`"`)
	// Without a time: the content is named by its sum, whenever it was written.
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

func (h *Handler) fetch(ctx context.Context, sum string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return h.Fetch(ctx, sum)
}

// hostOf is the caller's address without port, of IPv6 its network.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() && !a.Is4In6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return host
}
