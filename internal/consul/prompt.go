package consul

import (
	"io"
	"net/http"
	"sync"
)

// maxPrompt is how many requests that are answered at once may be under way. Consul refuses
// an address with more than 200 connections (http_max_conns_per_client), those of blocking
// queries, of which the agent has a few, included.
const maxPrompt = 64

// promptly bounds the requests that are answered at once. A request waits for its turn as
// long as its context.
type promptly struct {
	next  http.RoundTripper
	slots chan struct{}
}

func newPromptly(next http.RoundTripper) *promptly {
	return &promptly{next, make(chan struct{}, maxPrompt)}
}

// RoundTrip implements [http.RoundTripper].
func (p *promptly) RoundTrip(r *http.Request) (*http.Response, error) {
	if i := r.URL.Query().Get("index"); i != "" && i != "0" {
		return p.next.RoundTrip(r) // A blocking query.
	}
	select {
	case p.slots <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	resp, err := p.next.RoundTrip(r)
	if err != nil {
		<-p.slots
		return nil, err
	}
	resp.Body = &lastRead{ReadCloser: resp.Body, done: sync.OnceFunc(func() { <-p.slots })}
	return resp, nil
}

// CloseIdleConnections closes what the transport below keeps.
func (p *promptly) CloseIdleConnections() {
	(&http.Client{Transport: p.next}).CloseIdleConnections()
}

// lastRead is a body that gives the slot back when it is closed.
type lastRead struct {
	io.ReadCloser
	done func()
}

// Close implements [io.Closer].
func (b *lastRead) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
