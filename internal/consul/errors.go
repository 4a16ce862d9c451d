package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

const noLeader = "No cluster leader"

// Wrap adds to err what could not be done with the agent's own token, and the sentinel
// error that fits. It returns nil for nil.
func Wrap(what string, err error) error { return wrap(what, err, wadi.ErrOwnRight) }

// wrap is Wrap with another sentinel for refusals.
func wrap(what string, err, refused error) error {
	if err == nil {
		return nil
	}
	s := sentinel(err)
	if errors.Is(s, wadi.ErrForbidden) {
		s = refused
	}
	if s != nil && !errors.Is(err, s) {
		return fmt.Errorf("%s: %w: %w", what, s, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// sentinel returns the root package's error for err; nil if none fits.
func sentinel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	var status api.StatusError
	if errors.As(err, &status) {
		return statusSentinel(status)
	}
	var netErr net.Error
	var urlErr *url.Error
	if errors.As(err, &urlErr) || errors.As(err, &netErr) {
		return wadi.ErrUnavailable
	}
	// Consul refuses a whole transaction in text only.
	return textSentinel(err.Error())
}

func statusSentinel(e api.StatusError) error {
	if err := wadi.ErrorOfStatus(e.Code); err != nil {
		return err
	}
	return textSentinel(e.Body)
}

// textSentinel reads Consul's text where its status code is ambiguous: a 500 may be a
// refusal, a leader election, or a server that is shutting down.
func textSentinel(text string) error {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("does not have a subset named", `discovery chain "`):
		return nil // A refused config entry; passed on by a client agent it is an "rpc error", too.
	case has("Permission denied", "ACL not found", "ACL support disabled"):
		return wadi.ErrForbidden
	case has(noLeader, "No known Consul servers", "rpc error", "raft is already shutdown",
		"leadership lost", "node is not the leader", "EOF", "connection re", "shutting down"):
		return wadi.ErrUnavailable
	case has("request body too large", "too many operations", "value too large"):
		return wadi.ErrTooLarge
	}
	return nil
}
