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

// retryRefused asks again what Nomad refused to a token: a server that has just started does
// not know all tokens and policies yet, and refuses those that are good. What was
// refused was not done. A caller without a token has none that could be unknown. What is
// asked about [wadi.Nowhere] is asked again whatever the answer: it takes as long as a
// refusal, and tells who may read most namespaces nothing of the others.
type retryRefused struct {
	next       http.RoundTripper
	agentToken string        // The agent's own token, which is always asked for again.
	waiting    chan struct{} // One place for each refused call of others that waits.

	mu       sync.Mutex
	hashSeed maphash.Seed
	believed map[uint64]time.Time // By hash of others' tokens: until when their refusals are believed.
}

func newRetryRefused(next http.RoundTripper, own string) *retryRefused {
	return &retryRefused{next: next, agentToken: own, waiting: make(chan struct{}, maxRefusedWaiting), hashSeed: maphash.MakeSeed(), believed: map[uint64]time.Time{}}
}

// refusedPauses are the pauses before a refused call is sent again.
var refusedPauses = [...]time.Duration{200 * time.Millisecond, 600 * time.Millisecond}

// maxRefusedWaiting bounds the refused calls of others that wait at a time: beyond them a
// refusal is believed at once, so that made-up tokens hold nobody up.
const maxRefusedWaiting = 4

const (
	believedFor = 5 * time.Second // Who was refused again and again is not doubted once more at each question.
	maxBelieved = 1024            // Tokens of which that is remembered.
)

// maxRefusalBody is how much of a refusal is kept.
const maxRefusalBody = 1 << 20

// withoutRetry is ctx for calls whose refusals are believed at once, since nothing ends by them.
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
		if err := sleep(req.Context(), wait); err != nil {
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

// send sends a request, and says whether Nomad refused it for want of a right, or it is to
// look so: a client agent may do so with a 500.
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
	if err = errors.Join(err, resp.Body.Close()); err != nil { // Closed, so that its connection is free.
		return nil, false, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nowhere || sentinel(resp.StatusCode, strings.TrimSpace(string(body))) == wadi.ErrForbidden, nil
}
