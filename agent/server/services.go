package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/api"
)

// A name from a path becomes part of a key in the store: nothing but names of
// services gets there.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

const (
	maxDeleteWait  = 10 * time.Minute
	deletePollTime = 250 * time.Millisecond
)

func (s *Server) submit(w http.ResponseWriter, r *http.Request) error {
	return s.admit(w, r, s.Admission.Submit)
}

func (s *Server) validate(w http.ResponseWriter, r *http.Request) error {
	return s.admit(w, r, s.Admission.Validate)
}

// admit reads a submission and has it judged. It is worked on in its turn, once its
// caller is known to have the right: others wait for nobody who has none.
func (s *Server) admit(w http.ResponseWriter, r *http.Request,
	do func(context.Context, admission.Request) (api.Submitted, error)) error {
	place, err := s.bodies.enter(w, r)
	if err != nil {
		return err
	}
	defer place.leave()
	var body api.Submission
	// Sources grow by at most a factor of two when they are escaped.
	if err := place.read(decode(w, r, int64(2*s.MaxSpecBytes+64<<10), &body)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), submitTimeout)
	defer func() { cancel() }()
	working := false
	defer func() {
		if working {
			<-s.submissions
		}
	}()
	turn := func() (context.Context, error) {
		select {
		case s.submissions <- struct{}{}:
			working = true
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		cancel()
		ctx, cancel = context.WithTimeout(r.Context(), submitTimeout)
		return ctx, nil
	}
	out, err := do(ctx, admission.Request{
		Submission: body, NomadToken: nomadToken(r), ConsulToken: r.Header.Get(headerConsulToken), Look: s.look, Turn: turn,
	})
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, out)
}

// look waits for one of the few places for it.
func (s *Server) look(ctx context.Context) (done func(), err error) {
	select {
	case s.looks <- struct{}{}:
		return func() { <-s.looks }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// status returns a service's status; none yet is an empty one, which says pending, and
// in place of one that can't be read there is one that says so.
func (s *Server) status(ctx context.Context, name string) (wadi.Status, error) {
	st, err := s.Store.Status(ctx, name)
	if errors.Is(err, wadi.ErrNotFound) {
		return wadi.Status{Service: name, Phase: string(wadi.Pending)}, nil
	}
	if errors.Is(err, wadi.ErrUnreadable) {
		return wadi.Status{Service: name, Phase: wadi.PhaseUnknown, Conditions: []wadi.Condition{wadi.Unreadable(err.Error())}}, nil
	}
	if err != nil {
		return st, fmt.Errorf("status of %s: %w", name, err)
	}
	return st, nil
}

// list answers with the services that the caller may read.
func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	names, err := s.Store.Services(r.Context())
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	type stored struct {
		api.ServiceSummary // Without what the status tells.

		deleting, unreadable bool
	}
	var all []stored
	var namespaces []string
	for _, name := range names {
		spec, index, err := s.Store.Spec(r.Context(), name)
		unreadable := errors.Is(err, wadi.ErrUnreadable)
		switch {
		case errors.Is(err, wadi.ErrNotFound):
			continue // Gone since.
		case unreadable: // It keeps nobody from the others.
			spec.Service.Namespace = s.namespaceOf(r.Context(), name)
		case err != nil:
			return fmt.Errorf("service %s: %w", name, err)
		}
		all = append(all, stored{api.ServiceSummary{
			Name: name, Namespace: spec.Service.Namespace, Latest: spec.Latest,
			Generation: spec.Generation, Index: index, Submitted: spec.Submitted,
		}, spec.Deleting, unreadable})
		namespaces = append(namespaces, spec.Service.Namespace)
	}
	slices.Sort(namespaces)
	readable, err := s.readable(r, slices.Compact(namespaces))
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	out := []api.ServiceSummary{}
	for _, one := range all {
		sum := one.ServiceSummary
		if !readable[sum.Namespace] {
			continue
		}
		st, err := s.status(r.Context(), sum.Name)
		if err != nil {
			return err
		}
		sum.Phase, sum.URL, sum.Traffic = phase(wadi.Spec{Deleting: one.deleting, Generation: sum.Generation}, st), st.URL, st.Traffic
		if one.unreadable {
			sum.Phase = wadi.PhaseUnknown
		}
		if sum.Namespace == wadi.UnknownNamespace {
			sum.Namespace = ""
		}
		out = append(out, sum)
	}
	return s.reply(w, http.StatusOK, out)
}

// phase does not show the last generation's phase for a spec that no leader has
// looked at yet.
func phase(spec wadi.Spec, st wadi.Status) string {
	switch {
	case spec.Deleting:
		return "deleting"
	case st.Phase == wadi.PhaseUnknown:
		return st.Phase
	case st.Generation < spec.Generation:
		return string(wadi.Pending)
	}
	return st.Phase
}

func (s *Server) read(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	spec, index, err := s.spec(r, name)
	if err != nil {
		return err
	}
	st, err := s.status(r.Context(), name)
	if err != nil {
		return err
	}
	view := api.Service{
		Service: spec.Service, Index: index, Generation: spec.Generation, Phase: phase(spec, st),
		Latest: spec.Latest, Deleting: spec.Deleting, Submitted: spec.Submitted,
		File: spec.File, Source: spec.Source, Variables: spec.Variables, Status: st,
	}
	route, err := s.Store.Route(r.Context(), name)
	switch {
	case err == nil:
		shown := route.WithoutProofs()
		view.Route = &shown
	case errors.Is(err, wadi.ErrUnreadable):
		view.Status.Conditions = append(view.Status.Conditions, wadi.Unreadable(err.Error()))
	case !errors.Is(err, wadi.ErrNotFound):
		return fmt.Errorf("route of %s: %w", name, err)
	}
	switch view.Overrides, err = s.Store.Overrides(r.Context(), name); {
	case errors.Is(err, wadi.ErrUnreadable):
		view.Overrides = nil
		view.Status.Conditions = append(view.Status.Conditions, wadi.Unreadable(err.Error()))
	case err != nil:
		return fmt.Errorf("overrides of %s: %w", name, err)
	}
	maps.DeleteFunc(view.Overrides, func(_ string, h wadi.Override) bool { return !h.Active(time.Now()) })
	return s.reply(w, http.StatusOK, view)
}

// remove marks a service; the leader drains, removes and forgets it. With wait it
// answers when that is done.
func (s *Server) remove(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	wait, err := duration(r, "wait", maxDeleteWait)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout+wait)
	defer cancel()
	r = r.WithContext(ctx)
	spec, index, err := s.permitted(r, name, rightSubmit)
	if err != nil {
		return err
	}
	if q := r.URL.Query().Get("index"); q != "" {
		want, err := strconv.ParseUint(q, 10, 64)
		if err != nil {
			return badInput("index %q is not a number", q)
		}
		if want != index {
			return fmt.Errorf("index is %d, but the stored index is %d; read it again: %w", want, index, wadi.ErrConflict)
		}
	}
	if !spec.Deleting {
		if err := s.Admission.MayRemove(r.Context(), spec.Service, r.Header.Get(headerConsulToken)); err != nil {
			return err
		}
		if err := s.Store.MarkDeleting(r.Context(), name, index); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		s.Log.Info("service marked for deletion", "service", name)
	}
	gone, err := s.waitGone(r.Context(), name, wait)
	if err != nil {
		return err
	}
	if gone {
		return s.reply(w, http.StatusOK, api.Deletion{Name: name, Gone: true})
	}
	return s.reply(w, http.StatusAccepted, api.Deletion{Name: name, Deleting: true})
}

func (s *Server) waitGone(ctx context.Context, name string, wait time.Duration) (bool, error) {
	if wait <= 0 {
		return false, nil
	}
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(deletePollTime)
	defer tick.Stop()
	for {
		_, _, err := s.Store.Spec(ctx, name)
		switch {
		case errors.Is(err, wadi.ErrNotFound):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("service %s: %w", name, err)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return false, nil
		case <-stopped(ctx):
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func duration(r *http.Request, key string, most time.Duration) (time.Duration, error) {
	q := r.URL.Query().Get(key)
	if q == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(q)
	if err != nil || d < 0 {
		return 0, badInput("%s %q is not a duration such as 30s", key, q)
	}
	return min(d, most), nil
}
