package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// fail answers with err. What the caller can't be blamed for is logged.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if rec, ok := w.(*recorder); ok && rec.wrote {
		// The answer has begun: cut it off, so that nobody takes it for whole.
		panic(http.ErrAbortHandler)
	}
	answer := s.explain(r, err)
	switch answer.Status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
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
	return answer
}

func badInput(format string, args ...any) error {
	return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf(format, args...)}
}

func unavailable(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), wadi.ErrUnavailable)
}

// decode reads a JSON body strictly: bounded in size and time, one value, and no
// key that isn't known.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // Not all writers can; the server's can.

	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeError(err)
	}
	switch _, err := d.Token(); {
	case errors.Is(err, io.EOF):
		_ = rc.SetReadDeadline(time.Time{}) // Else the request seems to be given up then.
		return nil
	case err == nil:
		return badInput("the body holds more than one JSON value")
	default:
		return decodeError(err)
	}
}

func decodeError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	if errors.Is(err, io.EOF) {
		return badInput("the body is empty")
	}
	return badInput("the body is not the JSON that belongs here: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// nomadToken is the caller's, from X-Nomad-Token or Authorization: Bearer.
func nomadToken(r *http.Request) string {
	if t := r.Header.Get("X-Nomad-Token"); t != "" {
		return t
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}
