package nomad

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
)

// retryBusy repeats a request that Nomad answered with 429: it has too many connections or
// calls, and did nothing.
type retryBusy struct{ next http.RoundTripper }

// maxTries bounds how often one request is sent.
const maxTries = 5

// RoundTrip implements http.RoundTripper.
func (r *retryBusy) RoundTrip(req *http.Request) (*http.Response, error) {
	pause := 50 * time.Millisecond
	for try := 1; ; try++ {
		resp, err := r.next.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusTooManyRequests || try == maxTries {
			return resp, err
		}
		if req.Body != nil && req.GetBody == nil {
			return resp, nil
		}
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return nil, err
		}
		if err := wadi.Sleep(req.Context(), pause); err != nil {
			return nil, err
		}
		pause *= 2
		if req, err = rewound(req); err != nil {
			return nil, err
		}
	}
}

// rewound is req with its body from the start.
func rewound(req *http.Request) (*http.Request, error) {
	req = req.Clone(req.Context())
	if req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	req.Body = body
	return req, err
}
