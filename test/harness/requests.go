package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// URL of a path at the agent's gateway. The Host header selects the service, so no DNS is
// needed.
func (a *Agent) URL(path string) string { return "http://" + a.Gateway + path }

// Response is an answer with its whole body.
type Response struct {
	Status int
	Header http.Header
	Body   string
	Took   time.Duration
}

// Get asks a service through the gateway, on a connection of its own.
func (a *Agent) Get(ctx context.Context, service, path string) (Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL(path), nil)
	if err != nil {
		return Response{}, err
	}
	req.Host = service + "." + Domain
	return Do(&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: a.Dial}}, req)
}

// Do sends a request and reads the answer.
func Do(c *http.Client, req *http.Request) (Response, error) {
	begin := time.Now()
	res, err := c.Do(req)
	if err != nil {
		return Response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return Response{}, fmt.Errorf("read answer: %w", err)
	}
	return Response{Status: res.StatusCode, Header: res.Header, Body: string(body), Took: time.Since(begin)}, nil
}
