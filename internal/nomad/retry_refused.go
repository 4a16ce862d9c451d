package nomad

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// retryRefused repeats requests that Nomad refused: a server that has just started does
// not know all tokens and policies yet, and refuses good ones. A refused request changed
// nothing. Requests without a token are not repeated. Requests about [wadi.Nowhere] are
// repeated whatever the answer is: they take as long as a refusal, so a caller who may
// read most namespaces learns nothing about the others.
type retryRefused struct {
	next       http.RoundTripper
	agentToken string        // The agent's own token, whose requests are always repeated.
	waiting    chan struct{} // Has a slot for each waiting request with another token.

	mu       sync.Mutex
	hashSeed maphash.Seed
	believed map[uint64]time.Time // By hash of other tokens: until when their refusals are believed at once.
}

func newRetryRefused(next http.RoundTripper, own string) *retryRefused {
	return &retryRefused{next: next, agentToken: own, waiting: make(chan struct{}, maxRefusedWaiting), hashSeed: maphash.MakeSeed(), believed: map[uint64]time.Time{}}
}

// refusedPauses are the pauses before a refused request is sent again.
var refusedPauses = [...]time.Duration{200 * time.Millisecond, 600 * time.Millisecond}

// maxRefusedWaiting bounds the refused requests of other tokens that wait at a time.
// Beyond it a refusal is believed at once, so that invalid tokens block no other caller.
const maxRefusedWaiting = 4

const (
	believedFor = 5 * time.Second // After a token was refused each time, its next refusals are believed at once.
	maxBelieved = 1024            // Number of such tokens.
)

// maxRefusalBody bounds the part of a refusal that is kept.
const maxRefusalBody = 1 << 20

// withoutRetry is ctx for requests whose refusals are believed at once, because nothing
// ends by them.
func withoutRetry(ctx context.Context) context.Context {
	return context.WithValue(ctx, skipRetry{}, true)
}

type skipRetry struct{}

// RoundTrip implements http.RoundTripper.
func (d *retryRefused) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, refused, err := d.send(req)
	token := req.Header.Get("X-Nomad-Token")
	if !refused || token == "" || req.Context().Value(skipRetry{}) != nil || req.Body != nil && req.GetBody == nil {
		return resp, err
	}
	if token != d.agentToken {
		if d.isBelieved(token) {
			return resp, nil
		}
		select {
		case d.waiting <- struct{}{}:
			defer func() { <-d.waiting }()
		default:
			return resp, nil
		}
	}
	for _, wait := range refusedPauses {
		if err := wadi.Sleep(req.Context(), wait); err != nil {
			return nil, err
		}
		if req, err = rewound(req); err != nil {
			return nil, err
		}
		if resp, refused, err = d.send(req); !refused {
			return resp, err
		}
	}
	if token != d.agentToken {
		d.noteBelieved(token)
	}
	return resp, err
}

func (d *retryRefused) isBelieved(token string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.believed[maphash.String(d.hashSeed, token)])
}

func (d *retryRefused) noteBelieved(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.believed) >= maxBelieved {
		clear(d.believed)
	}
	d.believed[maphash.String(d.hashSeed, token)] = time.Now().Add(believedFor)
}

// send sends a request, and reports whether Nomad refused it for want of a right, or the
// caller must not see the difference. A client agent may refuse with a 500.
func (d *retryRefused) send(req *http.Request) (resp *http.Response, refused bool, err error) {
	resp, err = d.next.RoundTrip(req)
	if err != nil {
		return nil, false, err
	}
	nowhere := req.URL.Query().Get("namespace") == wadi.UnknownNamespace
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError:
	default:
		if !nowhere {
			return resp, false, nil
		}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusalBody))
	if err = errors.Join(err, resp.Body.Close()); err != nil { // Closed, so that the connection is free.
		return nil, false, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nowhere || sentinel(resp.StatusCode, strings.TrimSpace(string(body))) == wadi.ErrForbidden, nil
}
