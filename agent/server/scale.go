package server

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// Bounds of an override.
const (
	minOverride     = time.Second
	maxOverride     = 30 * 24 * time.Hour // For longer there are min and max.
	maxOverrideBody = 4 << 10
	maxWho          = 64
)

// scale stores a count that overrides the load. Any agent can; the leader sees it in the
// store and executes it.
func (s *Server) scale(w http.ResponseWriter, r *http.Request) error {
	var body api.Scale
	if err := decode(w, r, maxOverrideBody, &body); err != nil { // Before it is its turn: a body may be slow.
		return err
	}
	return s.inTurn(within(submitTimeout, func(w http.ResponseWriter, r *http.Request) error {
		return s.override(w, r, body)
	}))(w, r)
}

// override stores the count of body.
func (s *Server) override(w http.ResponseWriter, r *http.Request, body api.Scale) error {
	name := r.PathValue("name")
	spec, _, err := s.permitted(r, name, rightScale)
	if err != nil {
		return err
	}
	who := s.who(r)
	if err := s.validateOverride(r, spec, body); err != nil {
		return err
	}
	now := time.Now().UTC()
	out := api.Scaled{Service: name, Revision: body.Revision}
	override := wadi.Override{}
	if body.For > 0 {
		override = wadi.Override{Count: *body.Count, Until: now.Add(body.For.D()).Truncate(time.Second), By: who}
		out.Override = &override
		if spec.Service.Scale.DryRun {
			out.Warnings = append(out.Warnings, "scale.dry_run is on: the override is decided and shown, not executed")
		}
		if override.Count == 0 {
			out.Warnings = append(out.Warnings, "a request wakes the service all the same; it goes back to zero when none is in flight")
		}
	}
	if err := s.Store.PutOverride(r.Context(), name, body.Revision, override, now); err != nil {
		return err
	}
	s.Log.Info("count overridden", "service", name, "revision", body.Revision, "count", override.Count, "until", override.Until, "by", who)
	return s.reply(w, http.StatusOK, out)
}

// validateOverride refuses what can't be set.
func (s *Server) validateOverride(r *http.Request, spec wadi.Spec, body api.Scale) error {
	name := spec.Service.Name
	if spec.Deleting {
		return fmt.Errorf("%s is being deleted: %w", name, wadi.ErrConflict)
	}
	if body.Revision != "" {
		_, there, err := s.findRevision(r.Context(), name, body.Revision)
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("revision %s of %s: %w", body.Revision, name, wadi.ErrNotFound)
		}
	}
	switch d := body.For.D(); {
	case d == 0 && body.Count == nil:
		return nil // It ends the override.
	case d == 0:
		return badInput("for how long is missing: \"for\" is a duration such as 10m, and without \"count\" it ends the override")
	case d < minOverride || d > maxOverride:
		return badInput("for %s is not between %s and %s; scale.min and scale.max are for always", d, minOverride, maxOverride)
	case body.Count == nil:
		return badInput("count is missing")
	}
	most, setting := s.settings.Load().MaxInstances, "limits.max_instances of the agent"
	if m := spec.Service.Scale.Max; m > 0 && (most == 0 || m < most) {
		most, setting = m, "scale.max of "+name
	}
	if *body.Count < 0 || most > 0 && *body.Count > most {
		return badInput("count %d is not between 0 and %d (%s)", *body.Count, most, setting)
	}
	return s.validateOverridden(r, spec, body.Revision)
}

// validateOverridden refuses an override of a revision that gets no instances, whatever it is set to.
func (s *Server) validateOverridden(r *http.Request, spec wadi.Spec, revision string) error {
	name := spec.Service.Name
	route, err := s.Store.Route(r.Context(), name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("route of %s: %w", name, err)
	}
	state, err := s.Store.State(r.Context(), name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("state of %s: %w", name, err)
	}
	id := cmp.Or(revision, route.Main())
	switch st := state.Revisions[id]; {
	case id == "" || st.TriedAgain(spec.Attempt): // Submitted, but not reconciled yet.
		return nil
	case st.Phase == wadi.Failed:
		return conflict("%s has failed and gets no instances: %s; apply its file again to try again, or submit a revision that works", id, st.Reason)
	case st.Phase == wadi.Retired && !named(spec.Service, id) && !targeted(route, id):
		return conflict("no traffic goes to %s, and it has no job; give it traffic or a tag first (traffic { revision = %q })", id, id)
	}
	return nil
}

func targeted(route wadi.Route, revision string) bool {
	return slices.ContainsFunc(route.Targets, func(t wadi.RouteTarget) bool { return t.Revision == revision })
}

// named reports whether the service's traffic names a revision.
func named(svc wadi.Service, revision string) bool {
	return slices.ContainsFunc(svc.Traffic, func(t wadi.TrafficTarget) bool { return t.Revision == revision })
}

// who is the name of the caller's token in printable characters; empty: unknown.
func (s *Server) who(r *http.Request) string {
	if s.Auth == wadi.AuthNone {
		return ""
	}
	who := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, s.Rights.TokenName(r.Context(), nomadToken(r)))
	return who[:min(len(who), maxWho)]
}
