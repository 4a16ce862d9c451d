package activator

import (
	"errors"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
)

// Guard judges callers.
type Guard interface {
	// Caller names the service that sent r, by its certificate.
	Caller(r *http.Request) (string, error)
	// Authorize returns nil if caller may send r to service. It is asked before
	// anything is done for r, and once more when r had to wait. Its errors are
	// answered by Unauthorized.
	Authorize(caller, service string, r *http.Request) error
}

// authorize names r's caller, and returns a Refusal unless g lets r pass to service.
func authorize(g Guard, service string, r *http.Request) (caller string, err error) {
	caller, err = g.Caller(r)
	if err != nil {
		return "", Refusal{Status: http.StatusForbidden, Code: CodeDenied, Message: "the caller has no identity in the mesh"}
	}
	if service == "" {
		return caller, nil // It goes nowhere.
	}
	if err := g.Authorize(caller, service, r); err != nil {
		return caller, Unauthorized(err)
	}
	return caller, nil
}

// isDenied reports whether err refuses a caller for who it is or what it asks for.
func isDenied(err error) bool {
	var f Refusal
	return errors.As(err, &f) && f.Code == CodeDenied
}

// Unauthorized is the answer to a request that was not let pass: 503 where
// nobody can tell for now (wadi.ErrUnavailable), and else 403.
func Unauthorized(err error) Refusal {
	if errors.Is(err, wadi.ErrUnavailable) {
		return Refusal{Status: http.StatusServiceUnavailable, Code: CodeUnjudged, RetryAfter: time.Second, Message: err.Error()}
	}
	return Refusal{Status: http.StatusForbidden, Code: CodeDenied, Message: err.Error()}
}
