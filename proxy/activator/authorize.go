package activator

import (
	"errors"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
)

// Guard judges mesh callers.
type Guard interface {
	// Caller names the service that sent r, by its certificate.
	Caller(r *http.Request) (string, error)
	// Authorize returns nil if caller may send r to service. It is asked before
	// anything is done for r, and its errors are answered by Unauthorized.
	Authorize(caller, service string, r *http.Request) error
}

// authorize returns a Refusal unless g lets r pass to service.
func authorize(g Guard, service string, r *http.Request) error {
	caller, err := g.Caller(r)
	if err != nil {
		return Refusal{Status: http.StatusForbidden, Code: CodeDenied, Message: "the caller has no identity in the mesh"}
	}
	if service == "" {
		return nil // It goes nowhere.
	}
	if err := g.Authorize(caller, service, r); err != nil {
		return Unauthorized(err)
	}
	return nil
}

// Unauthorized is the answer to a request that was not let pass: 503 where
// nobody can tell for now (wadi.ErrUnavailable), and else 403.
func Unauthorized(err error) Refusal {
	if errors.Is(err, wadi.ErrUnavailable) {
		return Refusal{Status: http.StatusServiceUnavailable, Code: CodeUnjudged, RetryAfter: time.Second, Message: err.Error()}
	}
	return Refusal{Status: http.StatusForbidden, Code: CodeDenied, Message: err.Error()}
}
