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

// doubt asks again what Nomad refused to a token: a server that has just started does
// not know all tokens and policies yet, and refuses those that are good. What was
// refused was not done. A caller without a token has none that could be unknown. What is
// asked about [wadi.Nowhere] is asked again whatever the answer: it takes as long as a
// refusal, and tells who may read most namespaces nothing of the others.
type doubt struct {
	next  http.RoundTripper
	own   string        // The agent's own token, which is always asked for again.
	turns chan struct{} // One place for each refused call of others that waits.

	mu   sync.Mutex
	seed maphash.Seed
	sure map[uint64]time.Time // By hash of others' tokens: until when their refusals are believed.
}

func newDoubt(next http.RoundTripper, own string) *doubt {
	return &doubt{next: next, own: own, turns: make(chan struct{}, maxDoubts), seed: maphash.MakeSeed(), sure: map[uint64]time.Time{}}
}

// doubtWaits are the pauses before a refused call is sent again.
var doubtWaits = [...]time.Duration{200 * time.Millisecond, 600 * time.Millisecond}

// maxDoubts bounds the refused calls of others that wait at a time: beyond them a
// refusal is believed at once, so that made-up tokens hold nobody up.
const maxDoubts = 4

const (
	sureFor = 5 * time.Second // Who was refused again and again is not doubted once more at each question.
	maxSure = 1024            // Tokens of which that is remembered.
)

// maxRefusal is how much of a refusal is kept.
const maxRefusal = 1 << 20

// believing is ctx for calls whose refusals are believed at once, since nothing ends by them.
func believing(ctx context.Context) context.Context { return context.WithValue(ctx, believe{}, true) }

type believe struct{}

// RoundTrip implements http.RoundTripper.
func (d *doubt) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, refused, err := d.ask(req)
	token := req.Header.Get("X-Nomad-Token")
	if !refused || token == "" || req.Context().Value(believe{}) != nil || req.Body != nil && req.GetBody == nil {
		return resp, err
	}
	if token != d.own {
		if d.isSure(token) {
			return resp, nil
		}
		select {
		case d.turns <- struct{}{}:
			defer func() { <-d.turns }()
		default:
			return resp, nil
		}
	}
	for _, wait := range doubtWaits {
		if err := sleep(req.Context(), wait); err != nil {
			return nil, err
		}
		if req, err = again(req); err != nil {
			return nil, err
		}
		if resp, refused, err = d.ask(req); !refused {
			return resp, err
		}
	}
	if token != d.own {
		d.believe(token)
	}
	return resp, err
}

func (d *doubt) isSure(token string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.sure[maphash.String(d.seed, token)])
}

func (d *doubt) believe(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.sure) >= maxSure {
		clear(d.sure)
	}
	d.sure[maphash.String(d.seed, token)] = time.Now().Add(sureFor)
}

// ask sends a request, and says whether Nomad refused it for want of a right, or it is to
// look so: a client agent may do so with a 500.
func (d *doubt) ask(req *http.Request) (resp *http.Response, refused bool, err error) {
	resp, err = d.next.RoundTrip(req)
	if err != nil {
		return nil, false, err
	}
	nowhere := req.URL.Query().Get("namespace") == wadi.Nowhere
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError:
	default:
		if !nowhere {
			return resp, false, nil
		}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err = errors.Join(err, resp.Body.Close()); err != nil { // Closed, so that its connection is free.
		return nil, false, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nowhere || sentinel(resp.StatusCode, strings.TrimSpace(string(body))) == wadi.ErrForbidden, nil
}
