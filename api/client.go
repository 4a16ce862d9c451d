// Package api is the Go client of an agent's HTTP API, and has the types of its bodies,
// with which the agent answers.
//
// It promises to say what the agent said: errors are an [*Error] with the status
// and every detail, and wrap the root package's sentinels. It refuses to retry:
// callers know whether they may.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// DefaultAddress is where an agent's API is unless it is configured otherwise.
const DefaultAddress = "http://127.0.0.1:4747"

const maxAnswer = 64 << 20 // Bytes of one answer that is no stream.

// Config is what New needs. The zero value calls the agent on this machine
// without a token.
type Config struct {
	Address     string // URL, or host:port for plain HTTP; empty is DefaultAddress.
	Token       string // Nomad token.
	ConsulToken string

	TLS TLS // For an address with https.

	HTTPClient *http.Client // nil: one without a time limit, as streams need it. TLS is of no use with it.
}

// Client calls one agent. It may be used concurrently.
type Client struct {
	base        *url.URL
	token       string
	consulToken string
	http        *http.Client
}

// New returns a client. It does not connect.
func New(c Config) (*Client, error) {
	address := c.Address
	if address == "" {
		address = DefaultAddress
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("address %q is not a URL such as %s", c.Address, DefaultAddress)
	}
	if base.User != nil {
		return nil, errors.New("an address with a user name in it is not supported; use a token")
	}
	base.Path = strings.TrimRight(base.Path, "/")
	client := &Client{base: base, token: c.Token, consulToken: c.ConsulToken, http: c.HTTPClient}
	if client.http == nil {
		secure, err := c.TLS.config()
		if err != nil {
			return nil, err
		}
		client.http = &http.Client{
			Transport: &http.Transport{
				TLSClientConfig:     secure,
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
				TLSHandshakeTimeout: 5 * time.Second,
				MaxIdleConnsPerHost: 2,
				IdleConnTimeout:     30 * time.Second,
			},
			// A redirect could carry the token to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return client, nil
}

// Address is the base URL that c calls.
func (c *Client) Address() string { return c.base.String() }

// call sends a request and decodes the answer.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (T, error) {
	out, _, err := callHeader[T](ctx, c, method, path, query, in)
	return out, err
}

// callHeader is call with the answer's header.
func callHeader[T any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (T, http.Header, error) {
	var out T
	resp, err := c.send(ctx, method, path, query, in)
	if err != nil {
		return out, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return out, nil, fmt.Errorf("read answer of %s: %w: %w", c.base, wadi.ErrUnavailable, err)
	case len(body) > maxAnswer:
		return out, nil, fmt.Errorf("answer of %s has more than %d bytes", c.base, maxAnswer)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, nil, fmt.Errorf("%s did not answer as a Wadi agent does: %w", c.base, err)
	}
	return out, resp.Header, nil
}

// send returns a successful response, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	u, err := c.base.Parse(c.base.EscapedPath() + path)
	if err != nil {
		return nil, fmt.Errorf("path %s: %w", path, err)
	}
	u.RawQuery = query.Encode()
	var body io.Reader
	if in != nil {
		var buf bytes.Buffer
		e := json.NewEncoder(&buf)
		e.SetEscapeHTML(false) // Sources are bounded by their size as sent.
		if err := e.Encode(in); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = &buf
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("X-Nomad-Token", c.token)
	}
	if c.consulToken != "" {
		req.Header.Set("X-Consul-Token", c.consulToken)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if why := c.misconfigured(err); why != "" {
			return nil, fmt.Errorf("reach the agent at %s: %w: %s", c.base, cause(err), why)
		}
		return nil, fmt.Errorf("reach the agent at %s: %w: %w", c.base, wadi.ErrUnavailable, cause(err))
	}
	if resp.StatusCode >= 300 {
		defer func() { _ = resp.Body.Close() }()
		return nil, readError(resp)
	}
	return resp, nil
}

// cause strips what net/http says about a URL that is named already.
func cause(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// readError is the answer as an [*Error]. A body that no agent wrote leaves the status.
func readError(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, Message: resp.Status}
	var body struct {
		Error
		Health // Of an agent that is not well.
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if strings.HasPrefix(string(raw), "Client sent an HTTP request to an HTTPS server") { // As Go's server says it.
		e.Message = "this agent's API speaks HTTPS: call it with https:// in its address"
	}
	if err != nil || json.Unmarshal(raw, &body) != nil {
		return e
	}
	switch {
	case body.Message != "":
		e.Message, e.Details = body.Message, body.Details
	case len(body.Problems) > 0:
		e.Message = strings.Join(body.Problems, "; ")
	}
	return e
}
