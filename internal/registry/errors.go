package registry

import (
	"errors"
	"fmt"
	"time"
)

// The kinds of errors. Each error of Resolve wraps one of them, unless its caller's ctx has
// ended.
var (
	// ErrImage: the image's name can't be read.
	ErrImage = errors.New("no image's name")
	// ErrLocal: the name is of something that a node has, which no registry can be asked about.
	ErrLocal = errors.New("not at a registry")
	// ErrNotFound: the registry has no such image, or no such tag of it.
	ErrNotFound = errors.New("no such image")
	// ErrUnauthorized: the registry refuses the credentials, or wants some. Registries say
	// the same of images that they do not have.
	ErrUnauthorized = errors.New("not authorised")
	// ErrTooManyRequests: the registry answers no more requests for now; see Error.Again.
	ErrTooManyRequests = errors.New("too many requests")
	// ErrUnavailable: the registry can't be reached, is not trusted, or does not answer in time.
	ErrUnavailable = errors.New("registry unavailable")
	// ErrRefusedAddress: the registry is at, or leads to, an address that may not be asked.
	ErrRefusedAddress = errors.New("address refused")
	// ErrMalformed: the registry's answer is not that of a registry.
	ErrMalformed = errors.New("malformed answer")
	// ErrCredentials: the agent's own Docker configuration, or a helper that it names, does not work.
	ErrCredentials = errors.New("credentials can't be read")
)

// kinds are all kinds, with the value of the label result.
func kinds() map[error]string {
	return map[error]string{
		ErrImage: "bad_name", ErrLocal: "local", ErrNotFound: "not_found", ErrUnauthorized: "unauthorized",
		ErrTooManyRequests: "too_many_requests", ErrUnavailable: "unavailable", ErrRefusedAddress: "refused_address",
		ErrMalformed: "malformed", ErrCredentials: "credentials",
	}
}

// Error says why an image was not resolved. Its text is one line for people: it names the
// image and its registry, and neither credentials nor more of an answer than a short code.
type Error struct {
	Kind     error  // One of the kinds above.
	Image    string // As it was asked for.
	Registry string // Host; empty: unknown.
	What     string // What is wrong.
	Remedy   string // What to do about it; empty: nothing is known.

	// Again is when the registry may be asked again, if it said so.
	Again time.Time

	passing bool // It may be asked again at once.
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("image %.200q: %s", e.Image, e.What)
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap is the kind.
func (e *Error) Unwrap() error { return e.Kind }

func problem(kind error, what, remedy string) *Error {
	return &Error{Kind: kind, What: what, Remedy: remedy}
}
