package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// maxPinned bounds the pinned revisions of a service: retention does not.
const maxPinned = 50

// pin keeps a revision from retention.
func (s *Server) pin(w http.ResponseWriter, r *http.Request) error {
	who := s.who(r)
	return s.mark(w, r, func(id string, seen wadi.Marked) (wadi.Mark, error) {
		mark := seen.Marks[id]
		pinned := 0
		for other, m := range seen.Marks {
			if m.Pinned && other != id {
				pinned++
			}
		}
		switch {
		case mark.Deleted:
			return mark, conflict("%s is being deleted", id)
		case pinned >= maxPinned:
			return mark, conflict("%s has %d pinned revisions, which is all that may be; unpin one first", seen.Spec.Service.Name, pinned)
		case mark.Pinned:
			return mark, nil
		}
		return wadi.Mark{Pinned: true, By: who}, nil
	})
}

// unpin gives a revision back to retention.
func (s *Server) unpin(w http.ResponseWriter, r *http.Request) error {
	return s.mark(w, r, func(id string, seen wadi.Marked) (wadi.Mark, error) {
		mark := seen.Marks[id]
		if mark.Pinned {
			mark = wadi.Mark{}
		}
		return mark, nil
	})
}

// mark stores the mark of a revision that decide returns, and answers with it.
func (s *Server) mark(w http.ResponseWriter, r *http.Request, decide func(id string, seen wadi.Marked) (wadi.Mark, error)) error {
	was, id, err := s.revisionToChange(r)
	if err != nil {
		return err
	}
	var mark wadi.Mark
	err = s.storeMark(r.Context(), was, id, func(seen wadi.Marked) (wadi.Mark, error) {
		var refused error
		mark, refused = decide(id, seen)
		return mark, refused
	})
	if err != nil {
		return err
	}
	s.Log.Info("revision marked", "revision", id, "pinned", mark.Pinned)
	return s.reply(w, http.StatusOK, api.Pin{Revision: id, Pinned: mark.Pinned})
}

// storeMark stores a mark, if the service is still was, by which the caller's rights and index
// were judged: its name may be another team's by now. Its error names the revision, and not the
// key of the store.
func (s *Server) storeMark(ctx context.Context, was wadi.Spec, id string, decide func(wadi.Marked) (wadi.Mark, error)) error {
	err := s.Store.MarkRevision(ctx, was.Service.Name, id, func(seen wadi.Marked) (wadi.Mark, error) {
		if seen.Spec.Service.Namespace != was.Service.Namespace || seen.Spec.Generation != was.Generation || seen.Spec.Deleting {
			return wadi.Mark{}, conflict("%s was changed meanwhile; read it again", was.Service.Name)
		}
		return decide(seen)
	})
	if errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("revision %s: %w", id, wadi.ErrNotFound)
	}
	return err
}

// revisionToChange is the ID of a revision that may exist, and its service, which the caller may
// change.
func (s *Server) revisionToChange(r *http.Request) (spec wadi.Spec, id string, err error) {
	id = r.PathValue("id")
	service, _, ok := wadi.SplitRevisionID(id)
	if !ok {
		return spec, "", fmt.Errorf("revision %q: %w", id, wadi.ErrNotFound)
	}
	spec, index, err := s.permitted(r, service, rightSubmit)
	if err != nil {
		return spec, "", err
	}
	if err := checkIndex(r, index); err != nil {
		return spec, "", err
	}
	if spec.Deleting {
		return spec, "", conflict("%s is being deleted", service)
	}
	return spec, id, nil
}

// removeRevision has the leader remove a revision that has no traffic and no tag. With wait it
// answers when that is done, or after that time.
func (s *Server) removeRevision(w http.ResponseWriter, r *http.Request) error {
	wait, err := duration(r, "wait", maxDeleteWait)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout+wait)
	defer cancel()
	r = r.WithContext(ctx)
	was, id, err := s.revisionToChange(r)
	if err != nil {
		return err
	}
	who := s.who(r)
	err = s.storeMark(ctx, was, id, func(seen wadi.Marked) (wadi.Mark, error) {
		return wadi.Mark{Deleted: true, By: who}, mayRemoveRevision(id, seen)
	})
	if err != nil {
		return err
	}
	s.Log.Info("revision marked for deletion", "revision", id)
	gone, err := s.waitUntil(ctx, wait, func(ctx context.Context) (bool, error) {
		_, there, err := s.findRevision(ctx, was.Service.Name, id)
		return !there, err
	})
	if err != nil {
		return err
	}
	if gone {
		return s.reply(w, http.StatusOK, api.Deletion{Name: id, Gone: true})
	}
	return s.reply(w, http.StatusAccepted, api.Deletion{Name: id, Deleting: true})
}

// mayRemoveRevision refuses to remove a revision that is used, or that someone keeps.
func mayRemoveRevision(id string, seen wadi.Marked) error {
	service := seen.Spec.Service
	wanted := slices.IndexFunc(service.Traffic, func(t wadi.TrafficTarget) bool { return t.Revision == id })
	led := func(rule wadi.RouteRule) bool { return rule.Revision == id }
	rule := slices.IndexFunc(service.Routes, led)
	routed := slices.ContainsFunc(seen.Route.Targets, func(t wadi.RouteTarget) bool { return t.Revision == id }) || slices.ContainsFunc(seen.Route.Rules, led)
	switch {
	case seen.Marks[id].Pinned:
		return conflict("%s is pinned; unpin it first", id)
	case id == seen.Spec.Latest:
		return conflict("%s is the newest revision of %s, which \"latest\" means; submit another one first, or delete the service", id, service.Name)
	case wanted >= 0 && service.Traffic[wanted].Tag != "":
		return conflict("%s has the tag %q; take it away first", id, service.Traffic[wanted].Tag)
	case wanted >= 0:
		return conflict("%s has a share of the traffic; give it to another revision first", id)
	case rule >= 0:
		return conflict("the route %q leads to %s; change it first", service.Routes[rule].Name, id)
	case routed:
		return conflict("requests still go to %s; wait until they go elsewhere", id)
	}
	return nil
}
