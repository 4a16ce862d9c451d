package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
)

// decisions answers with the leader's history of decisions about a service, oldest first.
func (s *Server) decisions(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, _, err := s.spec(r, name); err != nil {
		return err
	}
	if done, err := s.toLeader(w, r); done {
		return err
	}
	if s.Decisions == nil {
		return unavailable("this agent keeps no decisions")
	}
	revisions, err := s.Store.Revisions(r.Context(), name)
	if err != nil && !errors.Is(err, wadi.ErrUnreadable) {
		return fmt.Errorf("revisions of %s: %w", name, err)
	}
	out := []wadi.Decision{}
	for _, rev := range revisions {
		out = append(out, s.Decisions.Of(rev.ID)...)
	}
	slices.SortStableFunc(out, func(a, b wadi.Decision) int { return a.Time.Compare(b.Time) })
	return s.reply(w, http.StatusOK, out)
}
