package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
)

// ParseError is Nomad's complaint about a job's HCL. Its lines look like
// "input.hcl:30,9-13: …".
type ParseError struct {
	Text string // As Nomad wrote it.
}

// Error implements error.
func (e *ParseError) Error() string { return e.Text }

// InvalidError is Nomad's complaint about a job that it could parse.
type InvalidError struct {
	Text string // As Nomad wrote it.
}

// Error implements error.
func (e *InvalidError) Error() string { return e.Text }

// translate wraps err in the sentinel that fits, and keeps Nomad's text.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if code, body, ok := response(err); ok {
		if s := sentinel(code, body); s != nil {
			return fmt.Errorf("%w: %s", s, secrets.Text(body))
		}
		return fmt.Errorf("nomad answered %d: %s", code, secrets.Text(body))
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return fmt.Errorf("%w: %w", wadi.ErrUnavailable, ue.Err)
	}
	return err
}

// sentinel is the root package's error for an answer; nil if none fits.
func sentinel(code int, body string) error {
	if hasAny(body, "Permission denied", tokenNotFound, "ACL token expired") {
		return wadi.ErrForbidden
	}
	if err := wadi.ErrorOfStatus(code); err != nil {
		return err
	}
	switch {
	case hasAny(body, "Enforcing job modify index"):
		return wadi.ErrConflict
	case code == http.StatusInternalServerError && (body == "EOF" || hasAny(body, "No cluster leader", "No path to region",
		"Not ready to serve consistent reads", "not the leader", "leadership lost", "connection refused",
		"connection reset", "i/o timeout", "raft is already shutdown", "No servers")):
		return wadi.ErrUnavailable
	}
	return nil
}

// forwarded is the prefix of a server's error that another agent passes on: client agents
// always add it, servers that are not the leader sometimes.
const forwarded = "rpc error: "

// response returns the status and text of Nomad's answer in err, without the prefixes of
// agents that passed it on.
func response(err error) (code int, body string, ok bool) {
	var re api.UnexpectedResponseError
	if !errors.As(err, &re) || !re.HasStatusCode() {
		return 0, "", false
	}
	body = strings.TrimSpace(re.Body())
	for strings.HasPrefix(body, forwarded) {
		body = strings.TrimPrefix(body, forwarded)
	}
	return re.StatusCode(), body, true
}

func hasAny(s string, subs ...string) bool {
	for _, sub := range subs {
		if strings.Contains(s, sub) {
			return true
		}
	}
	return false
}
