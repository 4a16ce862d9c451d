package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
)

const (
	heartbeat     = 10 * time.Second // Interval of the empty objects in a stream.
	eventsLoading = 5 * time.Second  // How long a new leader may take to read the events of earlier ones.
)

// events streams events as NDJSON: first the latest, then new ones, until the caller goes
// away or another agent leads. index leaves out the events up to it. follow=false ends the stream after the latest.
// Empty objects are heartbeats.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	only := r.URL.Query().Get("service")
	after, err := indexParameter(r)
	if err != nil {
		return err
	}
	follow, err := flag(r, "follow", true)
	if err != nil {
		return err
	}
	namespace, err := s.mayFollow(r, only)
	if err != nil {
		return err
	}
	if follow && r.Context().Value(peerKey{}) == nil { // Another agent counts what it forwards.
		done, err := s.blocked.begin(r)
		if err != nil {
			return err
		}
		defer done()
	}
	if done, err := s.toLeader(w, r); done {
		return err
	}
	if s.Events == nil {
		return unavailable("this agent keeps no events")
	}
	ctx, cancel := untilStopped(r.Context())
	defer cancel()
	if err := s.eventsLoaded(ctx); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	return s.stream(ctx, w, &eventReader{
		server: s, request: r.WithContext(ctx), only: only, namespace: namespace, next: after + 1, follow: follow,
		services: map[string]cachedRight{}, namespaces: map[string]cachedRight{},
	})
}

// eventsLoaded waits until a new leader has read the events of earlier ones.
func (s *Server) eventsLoaded(ctx context.Context) error {
	deadline := time.NewTimer(eventsLoading)
	defer deadline.Stop()
	for s.Events.Loading() {
		_, _, changed := s.Events.Since(0)
		if !s.Events.Loading() { // It may have ended before changed was asked for.
			break
		}
		select {
		case <-changed:
		case <-deadline.C:
			return unavailable("this agent has begun to lead, and can't read the earlier events yet")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// mayFollow refuses a caller that may not follow the events of a service, or of all if only
// is empty. It returns the namespace of the service.
func (s *Server) mayFollow(r *http.Request, only string) (namespace string, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	if only != "" {
		spec, _, err := s.spec(r, only)
		return spec.Service.Namespace, err
	}
	if err := s.known(ctx, r); err != nil {
		return "", fmt.Errorf("events: %w", err)
	}
	return "", nil
}

// stream writes the events that rd may see until ctx ends. The answer begins here, so that
// a failed write means that the caller is gone, and is no error.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, rd *eventReader) error {
	out := &stream{w: w, rc: http.NewResponseController(w)}
	if out.line(struct{}{}) != nil {
		return nil
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		events, next, changed := s.Events.Since(rd.next)
		for _, e := range events {
			may, err := rd.may(ctx, e)
			if rd.follow && errors.Is(err, wadi.ErrUnavailable) {
				next, changed = e.Index, nil // It is asked again at the next tick.
				break
			}
			if err != nil {
				return s.endStream(out, rd.request, err)
			}
			e.Message = secrets.Text(e.Message) // It may be of an earlier Wadi.
			if may && out.line(e) != nil {
				return nil
			}
		}
		rd.next = next
		if !rd.follow {
			return nil
		}
		select {
		case <-changed:
		case <-tick.C:
			if name, _ := s.leaderNow(); name != "" && name != s.Self.Name {
				return nil // They go on at the new leader.
			}
			if err := rd.still(ctx); err != nil {
				return s.endStream(out, rd.request, err)
			}
			if out.line(struct{}{}) != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// endStream writes the last line of a stream: the error that ends it.
func (s *Server) endStream(out *stream, r *http.Request, err error) error {
	_ = out.line(s.explain(r, err)) // An error means that the caller is gone.
	return nil
}

// stream writes lines, flushes each, and fails for a caller that doesn't read.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// line writes v as one line of JSON.
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
