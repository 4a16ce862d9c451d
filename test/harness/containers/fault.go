package containers

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is what a registry does wrong. Of its fields those that are set count.
type Fault struct {
	Kinds      []Kind // Which requests; all if empty.
	Repository string // Only requests for this one; all if empty.
	Times      int    // How often; 0 is always.

	Delay      time.Duration // It answers later; until then it is silent.
	Rate       int           // Bytes of a body per second.
	Drop       bool          // It closes the connection without an answer.
	Status     int           // It answers with this status, and an error in the registry's form.
	RetryAfter time.Duration // Adds Retry-After, in whole seconds.
	Redirect   string        // It redirects (307) to this URL, with the request's path after it.
	CutAfter   int           // It closes the connection after so many bytes of a body.

	used int           // Guarded by the registry's mutex.
	over chan struct{} // Closed when other faults replace it.
}

// SetFault replaces all faults; without arguments the registry is well again. Of several
// that fit, the first one counts. Requests that a replaced one delays go on.
func (r *Registry) SetFault(faults ...Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.faults {
		close(f.over)
	}
	r.faults = nil
	for _, f := range faults {
		f.over = make(chan struct{})
		r.faults = append(r.faults, &f)
	}
}

// fault is the one that this request meets.
func (r *Registry) fault(kind Kind, path string) *Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.faults {
		if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, kind) || f.Times > 0 && f.used >= f.Times {
			continue
		}
		if f.Repository != "" && !strings.HasPrefix(path, "/v2/"+f.Repository+"/") {
			continue
		}
		f.used++
		return f
	}
	return nil
}

func (f *Fault) serve(w http.ResponseWriter, req *http.Request, images http.Handler) {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-f.over:
		case <-req.Context().Done():
		}
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
	}
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Redirect != "":
		http.Redirect(w, req, f.Redirect+req.URL.Path, http.StatusTemporaryRedirect)
	case f.Status != 0:
		code := strings.ReplaceAll(strings.ToUpper(http.StatusText(f.Status)), " ", "")
		refuse(w, f.Status, code, "told to fail")
	default:
		images.ServeHTTP(&spoiled{ResponseWriter: w, req: req, fault: f}, req)
	}
}

// spoiled writes a body slowly, or a part of it.
type spoiled struct {
	http.ResponseWriter
	req     *http.Request
	fault   *Fault
	written int
}

func (s *spoiled) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		size := len(p) - n
		if s.fault.Rate > 0 {
			size = min(size, max(1, s.fault.Rate/10))
		}
		if s.fault.CutAfter > 0 {
			if s.written >= s.fault.CutAfter {
				panic(http.ErrAbortHandler)
			}
			size = min(size, s.fault.CutAfter-s.written)
		}
		m, err := s.ResponseWriter.Write(p[n : n+size])
		n, s.written = n+m, s.written+m
		if err != nil {
			return n, err
		}
		_ = http.NewResponseController(s.ResponseWriter).Flush() // Fails only if the caller is gone.
		if s.fault.Rate > 0 {
			select {
			case <-time.After(time.Second / 10):
			case <-s.req.Context().Done():
				return n, s.req.Context().Err()
			}
		}
	}
	return n, nil
}
