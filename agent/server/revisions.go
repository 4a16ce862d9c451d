package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/secrets"
)

// revisions answers with the stored revisions of a service, newest first.
func (s *Server) revisions(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, _, err := s.spec(r, name); err != nil {
		return err
	}
	all, err := s.Store.Revisions(r.Context(), name)
	if err != nil && !errors.Is(err, wadi.ErrUnreadable) { // The status shows unreadable revisions.
		return fmt.Errorf("revisions of %s: %w", name, err)
	}
	st, err := s.status(r.Context(), name)
	if err != nil {
		return err
	}
	marks, err := s.Store.Marks(r.Context(), name)
	if err != nil && !errors.Is(err, wadi.ErrUnreadable) {
		return fmt.Errorf("marks of %s: %w", name, err)
	}
	seen := map[string]wadi.RevisionStatus{}
	for _, rs := range st.Revisions {
		seen[rs.ID] = rs
	}
	out := []api.Revision{}
	for _, rev := range all {
		rs, ok := seen[rev.ID]
		if !ok {
			rs.Phase = wadi.Pending
		}
		out = append(out, api.Revision{
			ID: rev.ID, Number: rev.Number, Created: rev.Created, SpecHash: rev.SpecHash,
			Phase: rs.Phase, Reason: rs.Reason, Percent: rs.Percent, Images: rev.Images,
			Pinned: marks[rev.ID].Pinned, Deleting: marks[rev.ID].Deleted,
		})
	}
	slices.SortFunc(out, func(a, b api.Revision) int { return cmp.Compare(b.Number, a.Number) })
	return s.reply(w, http.StatusOK, out)
}

// revision answers with one stored revision, its frozen job included.
func (s *Server) revision(w http.ResponseWriter, r *http.Request) error {
	rev, err := s.readableRevision(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, secrets.Revision(rev))
}

// readableRevision returns a revision that the caller may read.
func (s *Server) readableRevision(r *http.Request, id string) (wadi.Revision, error) {
	service, _, ok := wadi.SplitRevisionID(id)
	if !ok {
		return wadi.Revision{}, fmt.Errorf("revision %q: %w", id, wadi.ErrNotFound)
	}
	if _, _, err := s.spec(r, service); err != nil {
		return wadi.Revision{}, err
	}
	rev, there, err := s.findRevision(r.Context(), service, id)
	if err == nil && !there {
		err = fmt.Errorf("revision %s: %w", id, wadi.ErrNotFound)
	}
	return rev, err
}

// findRevision returns one stored revision of a service. Other revisions that can't be read
// are no error if it is found.
func (s *Server) findRevision(ctx context.Context, service, id string) (rev wadi.Revision, there bool, err error) {
	all, err := s.Store.Revisions(ctx, service)
	i := slices.IndexFunc(all, func(rev wadi.Revision) bool { return rev.ID == id })
	switch {
	case err != nil && (i < 0 || !errors.Is(err, wadi.ErrUnreadable)):
		return wadi.Revision{}, false, fmt.Errorf("revisions of %s: %w", service, err)
	case i < 0:
		return wadi.Revision{}, false, nil
	}
	return all[i], true, nil
}
