package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
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
	out, err := s.Decisions.Decisions(r.Context(), name)
	if err != nil {
		return err
	}
	if out == nil {
		out = []wadi.Decision{}
	}
	return s.reply(w, http.StatusOK, out)
}

// events streams events as NDJSON: first the latest, then what happens, until the
// caller goes away. follow=false ends it after the latest. An empty object now
// and then says that the stream lives.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	only := r.URL.Query().Get("service")
	if only != "" {
		if _, _, err := s.spec(r, only); err != nil {
			return err
		}
	}
	if done, err := s.toLeader(w, r); done {
		return err
	}
	if s.Events == nil {
		return unavailable("this agent keeps no events")
	}
	ctx, cancel := untilStopped(r.Context())
	defer cancel()
	recent, next := s.Events.Subscribe(ctx)
	out := &stream{w: w, rc: http.NewResponseController(w)}
	reader := &reader{server: s, request: r, only: only, known: map[string]readable{}}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if err := out.line(struct{}{}); err != nil {
		return nil // The caller is gone, here and below.
	}
	for _, e := range recent {
		if reader.may(ctx, e) && out.line(e) != nil {
			return nil
		}
	}
	if r.URL.Query().Get("follow") == "false" {
		return nil
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		var err error
		select {
		case e, ok := <-next:
			if !ok {
				return nil
			}
			if reader.may(ctx, e) {
				err = out.line(e)
			}
		case <-tick.C:
			err = out.line(struct{}{})
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return nil
		}
	}
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
	server  *Server
	request *http.Request
	only    string
	known   map[string]readable
}

type readable struct {
	ok    bool
	until time.Time
}

func (rd *reader) may(ctx context.Context, e wadi.Event) bool {
	if rd.only != "" && e.Service != rd.only {
		return false
	}
	if rd.server.Auth == AuthNone {
		return true
	}
	was, ok := rd.known[e.Service]
	if ok && time.Now().Before(was.until) {
		return was.ok
	}
	spec, _, err := rd.server.Store.Spec(ctx, e.Service)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
		return was.ok // The last events of a deleted service.
	case err != nil:
		return false
	}
	if len(rd.known) >= maxRemember {
		clear(rd.known)
	}
	may := rd.server.mayRead(rd.request, spec.Service.Namespace) == nil
	rd.known[e.Service] = readable{ok: may, until: time.Now().Add(rightsLast)}
	return may
}
