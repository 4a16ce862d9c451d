// Package survey asks a Nomad and a Consul what they are and have: versions, ACLs, nodes with
// their drivers and network plugins, Envoy, and the time by their clocks.
//
// It promises that it changes nothing, that each answer is bounded however large the cluster
// is, and that what may not be read is told apart from what is not there. It refuses to
// judge: "wadi doctor" and "wadi init" do.
package survey

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// Reader reads a path of an HTTP API, with a token that it has.
type Reader interface {
	// Read decodes the answer, of MaxAnswer bytes at most, into out, and returns the time in
	// its Date header; zero: it has none. The error wraps the root package's sentinel that
	// fits.
	Read(ctx context.Context, path string, out any) (time.Time, error)
}

const (
	// MaxAnswer bounds an answer, in bytes.
	MaxAnswer = 16 << 20
	// MaxNodes is how many nodes are read; Nodes.More says that there are others.
	MaxNodes = 1000
	// maxNamespaces is how many namespaces are read.
	maxNamespaces = 1000
)

// Known is a fact that a token may not be permitted to read.
type Known[T any] struct {
	Value T
	Err   error // Why it is not known; nil: it is.
}

// ask reads a path, and makes a fact of the answer.
func ask[Answer, T any](ctx context.Context, r Reader, path string, of func(Answer) T) Known[T] {
	var a Answer
	if _, err := r.Read(ctx, path, &a); err != nil {
		return Known[T]{Err: err}
	}
	return Known[T]{Value: of(a)}
}

// atOnce asks several questions side by side: where one is not answered in time, the others
// have the same time.
func atOnce(questions ...func()) {
	var wg sync.WaitGroup
	for _, ask := range questions {
		wg.Go(ask)
	}
	wg.Wait()
}

// Refused reports whether a right was missing to learn the fact.
func (k Known[T]) Refused() bool { return errors.Is(k.Err, wadi.ErrForbidden) }

// filtered is a path with a filter expression.
func filtered(path, filter string, more ...string) string {
	q := url.Values{"filter": {filter}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return path + "?" + q.Encode()
}

// leader reads who leads. That is the first question to each of both: without a leader no
// other answer is worth anything.
func leader(ctx context.Context, r Reader, system string) (Offset, error) {
	var who string
	began := time.Now()
	date, err := r.Read(ctx, "/v1/status/leader", &who)
	if err != nil {
		return Offset{}, fmt.Errorf("ask for the leader of %s: %w", system, err)
	}
	if strings.TrimSpace(who) == "" {
		return Offset{}, fmt.Errorf("%s has no leader: %w", system, wadi.ErrUnavailable)
	}
	return offsetOfDate(date, began, time.Now()), nil
}
