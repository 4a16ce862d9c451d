package wadi

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: there is no such service, revision or job.
	ErrNotFound = errors.New("not found")
	// ErrConflict: it has changed since it was read; read it again.
	ErrConflict = errors.New("conflict")
	// ErrForbidden: the token lacks the right.
	ErrForbidden = errors.New("permission denied")
	// ErrOwnRight: the agent's own token lacks the right. Callers can't change that.
	ErrOwnRight = fmt.Errorf("%w to the agent's own token", ErrForbidden)
	// ErrUnavailable: Nomad or Consul can't be reached, or has no leader.
	ErrUnavailable = errors.New("unavailable")
	// ErrNotLeading: only the leader may do it, and this agent's term has ended.
	ErrNotLeading = errors.New("leadership lost")
	// ErrTooLarge: it exceeds a limit of the store or the agent.
	ErrTooLarge = errors.New("too large")
	// ErrUnreadable: the stored value can't be decoded. A newer Wadi wrote it, or no Wadi.
	ErrUnreadable = errors.New("not understood")
	// ErrQueueFull: the queue has its maximum of waiting requests.
	ErrQueueFull = errors.New("queue is full")
	// ErrQueueTimeout: a request waited for its whole queue timeout.
	ErrQueueTimeout = errors.New("no instance became ready in time")
	// ErrForeign: the entry that Wadi would have to write is not managed by Wadi.
	ErrForeign = errors.New("not managed by Wadi")
	// ErrUnplaceable: Nomad can't run the revision. The error that wraps it has Nomad's
	// reason.
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
