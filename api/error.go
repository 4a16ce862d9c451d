package api

import (
	"errors"
	"strings"

	"github.com/wadi-run/wadi"
)

// Error is a refusal or a failure as an agent answers with it. The same request would be
// refused again until either it or what is stored changes, unless it wraps
// [wadi.ErrUnavailable].
type Error struct {
	Message string         `json:"error"`
	Details []wadi.Problem `json:"details,omitempty"`

	// Status is the HTTP status. A body has it only as the last line of a stream, whose
	// own status was sent before.
	Status int `json:"status,omitempty"`
}

// Error is the message, and every detail on a line of its own.
func (e *Error) Error() string {
	lines := []string{e.Message}
	for _, d := range e.Details {
		lines = append(lines, d.String())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the root package's error that the status stands for, or nil.
func (e *Error) Unwrap() error { return wadi.ErrorOfStatus(e.Status) }

// StatusOf is the HTTP status of an answer that failed by err: that of the [*Error] or of
// the root package's error that it wraps, else 500.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return wadi.StatusOfError(err)
}
