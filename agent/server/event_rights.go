package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	rightsTTL       = 10 * time.Second // How long a stream keeps an answer about rights.
	maxCachedRights = 4096             // Answers that one stream keeps.
)

// eventReader decides which events the caller of a stream may see.
type eventReader struct {
	server     *Server
	request    *http.Request
	only       string
	next       uint64                 // Index of the next event.
	follow     bool                   // Wait for more after the latest.
	namespace  string                 // Of only, when the stream began.
	services   map[string]cachedRight // By service.
	namespaces map[string]cachedRight // By namespace.
}

// cachedRight is an answer of Nomad about a right.
type cachedRight struct {
	ok    bool
	until time.Time
}

// may reports whether the caller may see an event. The error is wadi.ErrUnavailable while
// that can't be asked; another one ends the stream.
func (rd *eventReader) may(ctx context.Context, e wadi.Event) (bool, error) {
	if rd.only != "" && e.Service != rd.only {
		return false, nil
	}
	if rd.server.Auth == wadi.AuthNone {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if e.Namespace != "" { // That of the service then: one of its name may be another's now.
		return rd.mayIn(ctx, e.Namespace)
	}
	was, ok := rd.services[e.Service]
	if ok && time.Now().Before(was.until) {
		return was.ok, nil
	}
	spec, _, err := rd.server.Store.Spec(ctx, e.Service)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
		return was.ok, nil // A last event of a deleted service.
	case isAway(err):
		return false, unavailable("Consul can't be asked whose events these are")
	case err != nil:
		return false, nil
	}
	may, err := rd.mayIn(ctx, spec.Service.Namespace)
	if err != nil {
		return false, err
	}
	if len(rd.services) >= maxCachedRights {
		clear(rd.services)
	}
	rd.services[e.Service] = cachedRight{ok: may, until: time.Now().Add(rightsTTL)}
	return may, nil
}

// isAway reports whether an error says nothing but that a backend did not answer.
func isAway(err error) bool {
	return errors.Is(err, wadi.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// mayIn reports whether the caller may read in a namespace. Its errors are those of may.
func (rd *eventReader) mayIn(ctx context.Context, namespace string) (bool, error) {
	if was, ok := rd.namespaces[namespace]; ok && time.Now().Before(was.until) {
		return was.ok, nil
	}
	can, err := rd.server.readable(rd.request.WithContext(ctx), []string{namespace})
	switch {
	case errors.Is(err, wadi.ErrForbidden):
		return false, err
	case isAway(err): // Nomad's error would reveal a namespace.
		return false, unavailable("Nomad can't be asked what this token may")
	}
	if len(rd.namespaces) >= maxCachedRights {
		clear(rd.namespaces)
	}
	rd.namespaces[namespace] = cachedRight{ok: can[namespace], until: time.Now().Add(rightsTTL)}
	return can[namespace], nil
}

// still refuses a caller whose token or right was lost since the stream began: the stream
// would stay open for ever without events. An unavailable Nomad does not end the stream.
func (rd *eventReader) still(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if rd.only == "" {
		return rd.stillKnown(ctx, "events")
	}
	spec, _, err := rd.server.Store.Spec(ctx, rd.only)
	about := "events of " + rd.only
	if errors.Is(err, wadi.ErrNotFound) {
		return rd.stillKnown(ctx, about)
	}
	if err == nil {
		err = rd.server.may(rd.request.WithContext(ctx), rightRead, spec.Service.Namespace)
	}
	if !errors.Is(err, wadi.ErrForbidden) || errors.Is(err, wadi.ErrOwnRight) {
		return nil
	}
	if unknown := rd.stillKnown(ctx, about); unknown != nil {
		return unknown
	}
	if spec.Service.Namespace != rd.namespace { // A service that the caller may not read has the name now.
		err = wadi.ErrNotFound
	}
	return fmt.Errorf("%s: %w", about, err)
}

// stillKnown refuses a caller that is no longer known to Nomad.
func (rd *eventReader) stillKnown(ctx context.Context, about string) error {
	if err := rd.server.known(ctx, rd.request); errors.Is(err, wadi.ErrForbidden) {
		return fmt.Errorf("%s: %w", about, err)
	}
	return nil
}
