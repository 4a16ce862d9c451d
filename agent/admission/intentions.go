package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// checkIntentions refuses a change of a service's allowed callers unless the submitting
// caller may write its intentions in Consul, because Wadi writes them with its own right.
// Unchanged intentions need no right.
func (a *Admission) checkIntentions(ctx context.Context, r Request, all []*candidate) error {
	var details []wadi.Problem
	for _, c := range all {
		if a.AllowIntentions || !changesIntentions(c) {
			continue
		}
		what, path := "say who may call it", "intentions"
		if c.service.Intentions == nil {
			what, path = "take away its intentions, which are stored", ""
		}
		err := a.mayWriteIntentions(ctx, r.ConsulToken, c.service.Name)
		switch {
		case errors.Is(err, wadi.ErrForbidden):
			details = append(details, c.draft.At(path, "%s", needed(r.ConsulToken, c.service.Name, what)))
		case err != nil:
			return err
		}
	}
	if len(details) > 0 {
		return &api.Error{Status: http.StatusForbidden, Message: "your right in Consul is missing", Details: details}
	}
	return nil
}

// MayRemove refuses to delete a service to which another's route leads, and one with
// intentions unless the caller may write them: they are deleted with the service, and a new
// submission without them would open it. The error is an [*api.Error], or wraps
// ErrUnavailable.
func (a *Admission) MayRemove(ctx context.Context, service wadi.Service, consulToken string) error {
	if err := a.checkNoneLeads(ctx, service.Name); err != nil {
		return err
	}
	if a.settings.Load().AllowIntentions || service.Intentions == nil {
		return nil
	}
	err := a.mayWriteIntentions(ctx, consulToken, service.Name)
	if errors.Is(err, wadi.ErrForbidden) {
		return &api.Error{Status: http.StatusForbidden, Message: needed(consulToken, service.Name, "delete it, as its intentions go with it")}
	}
	return err
}

func (a *Admission) mayWriteIntentions(ctx context.Context, token, service string) error {
	if err := a.Intentions.MayWriteIntentions(ctx, token, service); err != nil {
		return fmt.Errorf("intentions of %s: %w", service, err)
	}
	return nil
}

// needed is the text about a missing right: where to send a token, and a policy with the
// right.
func needed(token, service, what string) string {
	whose := "the Consul token that was sent lacks the right"
	if token == "" {
		whose = "no Consul token was sent (-consul-token, CONSUL_HTTP_TOKEN or X-Consul-Token), and the anonymous one lacks the right"
	}
	return fmt.Sprintf("service %s: to %s takes the right to its intentions in Consul; %s; this policy gives it: service %q { policy = \"read\" intentions = \"write\" }",
		service, what, whose, service)
}

// changesIntentions reports whether the submitted service allows other callers than the
// stored one. Visibility counts: public services allow the gateway.
func changesIntentions(c *candidate) bool {
	was, is := c.stored.Service.Intentions, c.service.Intentions
	if was == nil || is == nil {
		return was != is
	}
	set := func(in *wadi.Intentions) []string {
		return slices.Compact(slices.Sorted(slices.Values(in.Allow)))
	}
	return !slices.Equal(set(was), set(is)) || c.stored.Service.Visibility != c.service.Visibility
}
