package wadi

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: there is no such service, revision or job.
	ErrNotFound = errors.New("not found")
	// ErrConflict: somebody else changed it in the meantime; read again.
	ErrConflict = errors.New("conflict")
	// ErrForbidden: the token may not do that.
	ErrForbidden = errors.New("permission denied")
	// ErrOwnRight: it is the agent's own token that may not. Callers can do nothing about it.
	ErrOwnRight = fmt.Errorf("%w to the agent's own token", ErrForbidden)
	// ErrUnavailable: Nomad or Consul can't be reached, or has no leader.
	ErrUnavailable = errors.New("unavailable")
	// ErrNotLeading: only the agent that leads does it, and this one does no more.
	ErrNotLeading = errors.New("leadership lost")
	// ErrTooLarge: more than the store or the agent takes.
	ErrTooLarge = errors.New("too large")
	// ErrUnreadable: it is stored, but not understood: a newer Wadi, or nobody's, wrote it.
	ErrUnreadable = errors.New("not understood")
	// ErrQueueFull: as many requests wait as may wait.
	ErrQueueFull = errors.New("queue is full")
	// ErrQueueTimeout: a request waited for as long as it may.
	ErrQueueTimeout = errors.New("no instance became ready in time")
	// ErrForeign: what Wadi would have to write belongs to somebody else.
	ErrForeign = errors.New("not managed by Wadi")
	// ErrUnplaceable: Nomad says that the revision can't run. The error that
	// wraps it gives Nomad's reason.
	ErrUnplaceable = errors.New("instance can't run")
)

// statuses are the errors that HTTP statuses stand for, in the answers of Nomad, of Consul
// and of an agent. Of several for one error an agent answers with the first.
var statuses = []struct {
	status int
	err    error
}{
	{403, ErrForbidden},
	{401, ErrForbidden},
	{404, ErrNotFound},
	{409, ErrConflict},
	{413, ErrTooLarge},
	{503, ErrUnavailable},
	{502, ErrUnavailable},
	{504, ErrUnavailable},
	{429, ErrUnavailable},
}

// ErrorOfStatus returns the error that an HTTP status stands for; nil: it stands for none.
func ErrorOfStatus(status int) error {
	for _, s := range statuses {
		if s.status == status {
			return s.err
		}
	}
	return nil
}

// StatusOfError returns the HTTP status that stands for err; 500 if none does.
func StatusOfError(err error) int {
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return 500
}
