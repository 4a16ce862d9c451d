package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	heartbeat   = 10 * time.Second
	rightsLast  = 10 * time.Second // How long an answer about rights holds in a stream.
	maxRemember = 4096             // Services whose rights one stream remembers.
)

// decisions answers with the leader's last decisions about a service.
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

// events streams events as NDJSON: first the latest, then what happens, until the
// caller goes away. follow=false ends it after the latest. An empty object now
// and then says that the stream lives.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	only, namespace := r.URL.Query().Get("service"), ""
	if only != "" {
		spec, _, err := s.spec(r, only)
		if err != nil {
			return err
		}
		namespace = spec.Service.Namespace
	} else if err := s.known(r.Context(), r); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if done, err := s.toLeader(w, r); done {
		return err
	}
	if s.Events == nil {
		return unavailable("this agent keeps no events")
	}
	ctx, cancel := untilStopped(r.Context())
	defer cancel()
	out := &stream{w: w, rc: http.NewResponseController(w)}
	reader := &reader{server: s, request: r.WithContext(ctx), only: only, namespace: namespace, known: map[string]readable{}, spaces: map[string]readable{}}
	follow := r.URL.Query().Get("follow") != "false"
	w.Header().Set("Content-Type", "application/x-ndjson")
	// What fails from here on fails because the caller is gone.
	if out.line(struct{}{}) != nil {
		return nil
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	var seq uint64
	for {
		events, next, changed := s.Events.Since(seq)
		for _, e := range events {
			may, err := reader.may(ctx, e)
			if err != nil {
				return s.endStream(out, r, err)
			}
			if may && out.line(e) != nil {
				return nil
			}
		}
		seq = next
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-tick.C:
			if err := reader.still(ctx); err != nil {
				return s.endStream(out, r, err)
			}
			if out.line(struct{}{}) != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// endStream says in a last line why nothing more comes.
func (s *Server) endStream(out *stream, r *http.Request, err error) error {
	_ = out.line(s.explain(r, err)) // The caller is gone if this fails.
	return nil
}

// stream writes lines, each at once, and gives up on a caller that doesn't read.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s *stream) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := s.w.Write(append(b, '\n')); err != nil {
		return err
	}
	return s.rc.Flush()
}

// reader knows which services' events the caller of a stream may see.
type reader struct {
	server    *Server
	request   *http.Request
	only      string
	namespace string              // Of only, when the caller was let in.
	known     map[string]readable // By service.
	spaces    map[string]readable // By namespace.
}

type readable struct {
	ok    bool
	until time.Time
}

// may says whether the caller may see an event. An error ends the stream.
func (rd *reader) may(ctx context.Context, e wadi.Event) (bool, error) {
	if rd.only != "" && e.Service != rd.only {
		return false, nil
	}
	if rd.server.Auth == AuthNone {
		return true, nil
	}
	was, ok := rd.known[e.Service]
	if ok && time.Now().Before(was.until) {
		return was.ok, nil
	}
	spec, _, err := rd.server.Store.Spec(ctx, e.Service)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
		return was.ok, nil // The last events of a deleted service.
	case err != nil:
		return false, nil
	}
	may, err := rd.mayIn(spec.Service.Namespace)
	if err != nil {
		return false, err
	}
	if len(rd.known) >= maxRemember {
		clear(rd.known)
	}
	rd.known[e.Service] = readable{ok: may, until: time.Now().Add(rightsLast)}
	return may, nil
}

// mayIn says whether the caller may read in a namespace; not, while Nomad is away.
func (rd *reader) mayIn(namespace string) (bool, error) {
	if was, ok := rd.spaces[namespace]; ok && time.Now().Before(was.until) {
		return was.ok, nil
	}
	can, err := rd.server.readable(rd.request, []string{namespace})
	if errors.Is(err, wadi.ErrForbidden) {
		return false, err
	}
	if len(rd.spaces) >= maxRemember {
		clear(rd.spaces)
	}
	rd.spaces[namespace] = readable{ok: can[namespace], until: time.Now().Add(rightsLast)}
	return can[namespace], nil
}

// still refuses a caller who was let in and lost his token or the right since: else
// he would wait for ever for what he may not see. Nomad being away is no reason.
func (rd *reader) still(ctx context.Context) error {
	if rd.only == "" {
		return rd.stillKnown(ctx, "events")
	}
	spec, _, err := rd.server.Store.Spec(ctx, rd.only)
	about := "events of " + rd.only
	if errors.Is(err, wadi.ErrNotFound) {
		return rd.stillKnown(ctx, about)
	}
	if err == nil {
		err = rd.server.may(rd.request, rightRead, spec.Service.Namespace)
	}
	if !errors.Is(err, wadi.ErrForbidden) || errors.Is(err, wadi.ErrOwnRight) {
		return nil
	}
	if unknown := rd.stillKnown(ctx, about); unknown != nil {
		return unknown
	}
	if spec.Service.Namespace != rd.namespace { // Another one has the name now, of which he may not know.
		err = wadi.ErrNotFound
	}
	return fmt.Errorf("%s: %w", about, err)
}

// stillKnown refuses a caller whom Nomad does not know any more.
func (rd *reader) stillKnown(ctx context.Context, about string) error {
	if err := rd.server.known(ctx, rd.request); errors.Is(err, wadi.ErrForbidden) {
		return fmt.Errorf("%s: %w", about, err)
	}
	return nil
}
