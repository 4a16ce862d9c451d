package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

const (
	maxDeleteWait  = 10 * time.Minute
	deletePollTime = 250 * time.Millisecond
)

// remove marks a service for deletion; the leader drains, removes and forgets it. With wait
// it answers when that is done, or after that time.
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
	if err := checkIndex(r, index); err != nil {
		return err
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

// checkIndex refuses the request if it names another index than the stored one.
func checkIndex(r *http.Request, index uint64) error {
	want, err := indexParameter(r)
	if err != nil || r.URL.Query().Get("index") == "" {
		return err
	}
	if want != index {
		return fmt.Errorf("index is %d, but the stored index is %d; read it again: %w", want, index, wadi.ErrConflict)
	}
	return nil
}

// waitGone polls the store until the service is gone, and reports whether it is.
func (s *Server) waitGone(ctx context.Context, name string, wait time.Duration) (bool, error) {
	return s.waitUntil(ctx, wait, func(ctx context.Context) (bool, error) {
		_, _, err := s.Store.Spec(ctx, name)
		switch {
		case errors.Is(err, wadi.ErrNotFound):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("service %s: %w", name, err)
		}
		return false, nil
	})
}

// waitUntil polls until done reports true, wait is over or the agent stops, and reports whether
// it is done. Without wait it does not ask.
func (s *Server) waitUntil(ctx context.Context, wait time.Duration, done func(context.Context) (bool, error)) (bool, error) {
	if wait <= 0 {
		return false, nil
	}
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(deletePollTime)
	defer tick.Stop()
	for {
		if ok, err := done(ctx); ok || err != nil {
			return ok, err
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

// duration is a duration from the query, at most most; 0 without one.
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
