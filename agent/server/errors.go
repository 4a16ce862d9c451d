package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/proxy/recording"
)

// fail answers with err. Errors that are not the caller's fault are logged.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if rec, ok := w.(*recording.Writer); ok && rec.Status != 0 {
		// The answer has begun: cut it off, so that the caller does not take it for whole.
		panic(http.ErrAbortHandler)
	}
	answer := s.explain(r, err)
	switch answer.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		if w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", "1")
		}
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="wadi"`)
	case http.StatusInternalServerError:
		s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	_ = s.reply(w, answer.Status, api.Error{Message: answer.Message, Details: answer.Details})
}

// explain is err as the caller may read it.
func (s *Server) explain(r *http.Request, err error) api.Error {
	answer := api.Error{Status: api.StatusOf(err), Message: err.Error()}
	var refusal *api.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &refusal):
		// The text around a refusal says what could not be undone.
		answer.Message = strings.Replace(answer.Message, refusal.Error(), refusal.Message, 1)
		answer.Details = refusal.Details
	case errors.As(err, &tooLarge):
		answer.Status = http.StatusRequestEntityTooLarge
		answer.Message = fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit)
	case errors.Is(err, wadi.ErrOwnRight):
		// The missing right is in the log only: it names keys of other services.
		s.Log.Error("this agent's own token lacks a right", "method", r.Method, "path", r.URL.Path, "error", err)
		answer.Status = http.StatusServiceUnavailable
		answer.Message = "this agent can't do that: its own token lacks a right, which no other token makes up for; \"wadi doctor\" says which"
	case answer.Status == http.StatusForbidden && nomadToken(r) == "":
		answer.Status = http.StatusUnauthorized
		answer.Message += "; send a Nomad token in X-Nomad-Token"
	case answer.Status == http.StatusInternalServerError && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		answer.Status = http.StatusServiceUnavailable
	}
	if !fromHere(r) {
		answer.Message = withoutAddresses(answer, err)
	}
	return answer
}

// withoutAddresses is the message of an answer for a caller of another machine. Its rights
// are not known while Nomad is away, and where Nomad and Consul are is not for everybody.
func withoutAddresses(answer api.Error, err error) string {
	var network *net.OpError
	var request *url.Error
	if errors.As(err, &network) || errors.As(err, &request) {
		return "Nomad, Consul or another agent does not answer this agent; \"wadi doctor\" on its machine says more"
	}
	return answer.Message
}

// badInput refuses the request itself: 400.
func badInput(format string, args ...any) error {
	return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

// conflict refuses the request in the present state: 409.
func conflict(format string, args ...any) error {
	return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf(format, args...)}
}

// unavailable is an error that passes by itself: 503.
func unavailable(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), wadi.ErrUnavailable)
}
