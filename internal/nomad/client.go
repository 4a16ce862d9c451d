// Package nomad is Wadi's adapter to Nomad: calls, event streams and their state.
//
// It promises that every call ends with its context, that errors wrap the root package's
// sentinels, and that a job passes through as the JSON it is: settings that this Nomad
// knows and Wadi does not are neither lost nor changed. It refuses to decide anything, and
// to use the agent's own token where a caller's is expected: an empty token is an
// anonymous caller.
package nomad

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/hashicorp/nomad/api"
)

// Config is how to reach Nomad.
type Config struct {
	Address string // For instance http://127.0.0.1:4646 or unix:///run/nomad.sock.
	Token   string // The agent's own.
	Region  string // Empty is the region of the Nomad agent at Address.

	CAFile, CertFile, KeyFile string
	TLSServerName             string
	SkipVerify                bool // Accepts any certificate of Nomad's.
}

// maxConns bounds the connections of one Client, without those of its streams. Nomad
// permits 100 per source address by default, idle ones included.
const maxConns = 16

// Client calls Nomad's HTTP API. It is safe for concurrent use.
type Client struct{ current atomic.Pointer[connection] }

// connection is a client with one set of credentials.
type connection struct {
	api     *api.Client // Without a token: each call carries its own.
	streams *api.Client // For event streams, each of which occupies a connection.
	token   string
	close   func() // Closes idle connections.
}

// New returns a Client. It doesn't call Nomad.
func New(c Config) (*Client, error) {
	conn, err := connect(c)
	if err != nil {
		return nil, err
	}
	client := &Client{}
	client.current.Store(conn)
	return client, nil
}

// Use makes c call as next does, a client of the same Nomad with other credentials. An event
// stream goes on with the token that it began with until Nomad ends it.
func (c *Client) Use(next *Client) { c.current.Swap(next.current.Load()).close() }

func connect(c Config) (*connection, error) {
	u, err := url.Parse(c.Address)
	if err != nil {
		return nil, fmt.Errorf("nomad address %q: %w", c.Address, err)
	}
	calls, idle, err := apiClient(u, c, maxConns)
	if err != nil {
		return nil, err
	}
	streams, idleStreams, err := apiClient(u, c, maxSingle+2) // And the stream of all namespaces, and the query about nodes.
	if err != nil {
		return nil, err
	}
	return &connection{api: calls, streams: streams, token: c.Token, close: func() { idle(); idleStreams() }}, nil
}

func apiClient(u *url.URL, c Config, conns int) (_ *api.Client, closeIdle func(), err error) {
	hc, err := httpClient(u, c, conns)
	if err != nil {
		return nil, nil, fmt.Errorf("nomad tls: %w", err)
	}
	a, err := api.NewClient(&api.Config{Address: c.Address, Region: c.Region, HttpClient: hc})
	if err != nil {
		return nil, nil, fmt.Errorf("nomad client: %w", err)
	}
	return a, hc.CloseIdleConnections, nil
}

// Token returns the agent's own token, for calls that take a token.
func (c *Client) Token() string { return c.current.Load().token }

func (c *Client) api() *api.Client { return c.current.Load().api }

func (c *Client) streams() *api.Client { return c.current.Load().streams }

// Close closes idle connections.
func (c *Client) Close() { c.current.Load().close() }

func httpClient(u *url.URL, c Config, conns int) (*http.Client, error) {
	t, err := transport(u, c, conns)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: newRetryRefused(&retryBusy{next: t}, c.Token)}, nil
}

// transport returns what carries requests to Nomad over at most conns connections.
func transport(u *url.URL, c Config, conns int) (*http.Transport, error) {
	// A peer that has vanished is noticed within 30 s, also on the event stream, where
	// silence proves nothing for a longer time.
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	dial := d.DialContext
	if u.Scheme == "unix" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", u.Path)
		}
	}
	tlsConfig, err := tlsClientConfig(c)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxConnsPerHost:       conns,
		MaxIdleConnsPerHost:   conns / 2,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
	}, nil
}

func (c *Client) query(ctx context.Context, token, namespace string) *api.QueryOptions {
	return (&api.QueryOptions{AuthToken: token, Namespace: namespace}).WithContext(ctx)
}

func (c *Client) write(ctx context.Context, token, namespace string) *api.WriteOptions {
	return (&api.WriteOptions{AuthToken: token, Namespace: namespace}).WithContext(ctx)
}
