package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/imageref"
)

const (
	maxAttempts = 3                      // Of one question.
	minWait     = 200 * time.Millisecond // Between them.
	waitFactor  = 2                      // How many times as long as for its answer a question waits for its turn.
)

// resolve reads the name, and asks the registry or shares an answer.
func (r *Resolver) resolve(ctx context.Context, image string, own Credentials) (string, error) {
	ref, err := imageref.Parse(image)
	switch {
	case errors.Is(err, imageref.ErrLocal):
		return "", &Error{Kind: ErrLocal, Image: image, What: err.Error() + ", which no registry can be asked about"}
	case err != nil:
		return "", &Error{Kind: ErrImage, Image: image, What: err.Error(), Remedy: "write it as Docker has it: registry/path:tag"}
	case ref.Digest != "":
		return ref.Digest, nil
	}
	l := r.settings.Load()
	digest, err := r.flights.do(ctx, flightKey{question{ref.String(), own}, l}, func(ctx context.Context) (string, error) {
		return r.ask(ctx, l, ref, own)
	})
	if e := (*Error)(nil); errors.As(err, &e) {
		mine := *e // It is shared.
		mine.Image, mine.Registry = image, ref.Registry()
		return "", &mine
	}
	return digest, err
}

// ask asks the registry, more than once if it wants to be asked later and there is time.
func (r *Resolver) ask(ctx context.Context, l *loaded, ref imageref.Image, own Credentials) (string, error) {
	began := time.Now()
	defer func() { r.metrics.asked(time.Since(began)) }()
	caller := ctx
	release, err := r.turn(ctx, l, ref)
	if err != nil {
		return "", err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	as, err := l.login(ctx, ref, own)
	if err != nil {
		return "", ended(caller, err)
	}
	for attempt := 1; ; attempt++ {
		digest, err := r.askOnce(ctx, l, ref, as)
		if err == nil {
			return digest, nil
		}
		wait, again := waitFor(err, time.Now())
		until, _ := ctx.Deadline()
		if !again || attempt == maxAttempts || time.Now().Add(wait).After(until) || wadi.Sleep(ctx, wait) != nil {
			return "", ended(caller, err)
		}
	}
}

// turn waits until the registry may be asked. That is none of the time that it has to answer:
// questions to slow registries end within images.timeout, and those of well ones come after them.
func (r *Resolver) turn(caller context.Context, l *loaded, ref imageref.Image) (release func(), err error) {
	within := waitFactor * l.Timeout
	ctx, cancel := context.WithTimeout(caller, within)
	defer cancel()
	if release, err = r.slots.acquire(ctx, ref.Registry()); err != nil {
		return nil, ended(caller, problem(ErrUnavailable,
			fmt.Sprintf("its registry %s was not asked within %s: too many other questions wait", ref.Registry(), within), "submit it again"))
	}
	return release, nil
}

// ended returns the caller's own end in place of an error that it causes.
func ended(caller context.Context, err error) error {
	if caller.Err() != nil {
		return context.Cause(caller)
	}
	return err
}

// waitFor says whether and when a question is asked again after an error.
func waitFor(err error, now time.Time) (time.Duration, bool) {
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		return 0, false
	}
	switch {
	case !e.Again.IsZero():
		return max(e.Again.Sub(now), minWait), true
	case e.passing:
		return minWait, true
	}
	return 0, false
}

// askOnce asks by HEAD, which costs nothing at registries that count pulls, and by GET where
// that does not do. The digest of a GET is computed.
func (r *Resolver) askOnce(ctx context.Context, l *loaded, ref imageref.Image, as login) (string, error) {
	s := newSession(l, ref, as)
	s.dns = r.dns
	reg, err := name.NewRegistry(apiHost(ref.Registry()))
	if err != nil {
		return "", problem(ErrImage, "its registry can't be read", "write it as Docker has it: registry/path:tag")
	}
	tag := reg.Repo(ref.Path()).Tag(ref.Tag)
	// With a challenge that wants nothing the library sends its requests as they are: it is the session that logs in.
	through, err := transport.FromToken(reg, authn.Anonymous, s, &transport.Challenge{}, nil)
	if err != nil {
		return "", s.explain(ctx, err)
	}
	options := []remote.Option{remote.WithTransport(through), remote.WithContext(ctx)}
	desc, err := remote.Head(tag, options...)
	if err != nil && headIsNotEnough(err) {
		var got *remote.Descriptor
		if got, err = remote.Get(tag, options...); err == nil {
			desc = &v1.Descriptor{Digest: got.Digest}
		}
	}
	if err != nil {
		return "", s.explain(ctx, err)
	}
	if desc.Digest.Algorithm != "sha256" || len(desc.Digest.Hex) != 64 {
		return "", problem(ErrMalformed, fmt.Sprintf("its registry %s gives no sha256 digest", ref.Registry()), "")
	}
	return desc.Digest.String(), nil
}

// headIsNotEnough reports whether a GET may tell more: some registries answer HEAD without a
// digest, or not at all, and none says in words what is missing.
func headIsNotEnough(err error) bool {
	if own := (*Error)(nil); errors.As(err, &own) {
		return false
	}
	said := (*transport.Error)(nil)
	if !errors.As(err, &said) {
		return !errors.As(err, new(*url.Error)) // Not of the connection, but of the library, about a header.
	}
	switch said.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
		return true
	}
	return false
}

// retryTime reads a Retry-After header: seconds, or a date.
func retryTime(header string, now time.Time) time.Time {
	if n, err := strconv.Atoi(header); err == nil && n >= 0 && n <= 7*24*3600 {
		return now.Add(time.Duration(n) * time.Second)
	}
	if t, err := http.ParseTime(header); err == nil && t.After(now) && t.Before(now.Add(7*24*time.Hour)) {
		return t
	}
	return time.Time{}
}
