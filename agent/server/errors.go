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
	"github.com/wadi-run/wadi/agent/admission"
)

// errorBody is how every error reads.
type errorBody struct {
	Error   string             `json:"error"`
	Details []admission.Detail `json:"details,omitempty"`
}

// fail answers with err. What the caller can't be blamed for is logged.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if rec, ok := w.(*recorder); ok && rec.wrote {
		// The answer has begun: cut it off, so that nobody takes it for whole.
		panic(http.ErrAbortHandler)
	}
	status, body := s.explain(r, err)
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="wadi"`)
	}
	if status == http.StatusInternalServerError {
		s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	_ = s.reply(w, status, body)
}

func (s *Server) explain(r *http.Request, err error) (int, errorBody) {
	body := errorBody{Error: err.Error()}
	var refusal *admission.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &refusal):
		// What is wrapped around a refusal says what could not be undone.
		body.Error = strings.Replace(body.Error, refusal.Error(), refusal.Message, 1)
		body.Details = refusal.Details
		return refusal.Status, body
	case errors.As(err, &tooLarge):
		body.Error = fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit)
		return http.StatusRequestEntityTooLarge, body
	case errors.Is(err, wadi.ErrOwnRight):
		// Which one is for who runs the agent, and names keys of others.
		s.Log.Error("this agent's own token lacks a right", "method", r.Method, "path", r.URL.Path, "error", err)
		body.Error = "this agent can't do that: its own token lacks a right, which no other token makes up for; \"wadi doctor\" says which"
		return http.StatusServiceUnavailable, body
	case errors.Is(err, wadi.ErrForbidden):
		if nomadToken(r) == "" {
			body.Error += "; send a Nomad token in X-Nomad-Token"
			return http.StatusUnauthorized, body
		}
		return http.StatusForbidden, body
	case errors.Is(err, wadi.ErrNotFound):
		return http.StatusNotFound, body
	case errors.Is(err, wadi.ErrConflict):
		return http.StatusConflict, body
	case errors.Is(err, wadi.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, body
	case errors.Is(err, wadi.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable, body
	}
	return http.StatusInternalServerError, body
}

func badInput(format string, args ...any) error {
	return &admission.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return &admission.Error{Status: http.StatusConflict, Message: fmt.Sprintf(format, args...)}
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
