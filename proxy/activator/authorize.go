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
	// Authorize returns nil if caller may send r to service. The activator calls it
	// before anything is done for r, and again if r had to wait. Unauthorized turns its
	// errors into answers.
	Authorize(caller, service string, r *http.Request) error
}

// authorize returns r's caller, and a Refusal unless g allows r to service.
func authorize(g Guard, service string, r *http.Request) (caller string, err error) {
	caller, err = g.Caller(r)
	if err != nil {
		return "", Refusal{Status: http.StatusForbidden, Code: CodeDenied, Message: "the caller has no identity in the mesh"}
	}
	if service == "" {
		return caller, nil // The request has no target.
	}
	if err := g.Authorize(caller, service, r); err != nil {
		return caller, Unauthorized(err)
	}
	return caller, nil
}

// isDenied reports whether err refuses a caller by its identity or by its request.
func isDenied(err error) bool {
	var f Refusal
	return errors.As(err, &f) && f.Code == CodeDenied
}

// Unauthorized is the answer to a request that a Guard did not allow: 503 where that is
// unknown for now (wadi.ErrUnavailable), and else 403.
func Unauthorized(err error) Refusal {
	if errors.Is(err, wadi.ErrUnavailable) {
		return Refusal{Status: http.StatusServiceUnavailable, Code: CodeUnjudged, RetryAfter: time.Second, Message: err.Error()}
	}
	return Refusal{Status: http.StatusForbidden, Code: CodeDenied, Message: err.Error()}
}
