// Package consul is Wadi's adapter to Consul: key-value pairs, config entries,
// registrations, look-ups, blocking queries and the leader's lock.
//
// It promises that every call ends with its context, and that its errors wrap the
// sentinels of package wadi. It refuses to decide anything: its callers decide what is
// stored, and what an answer means.
package consul

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

// Config is how to reach Consul's agent.
type Config struct {
	Address    string // http://, https:// or unix://.
	Token      string
	CAFile     string
	CertFile   string
	KeyFile    string
	SkipVerify bool // Accepts any certificate of Consul's.
}

// Client calls one Consul agent. It is safe for concurrent use.
type Client struct {
	current atomic.Pointer[connection]
	decoded sync.Map // Kind of config entries → *decodedEntries.
}

// connection is a client with one set of credentials.
type connection struct {
	api   *api.Client
	http  *http.Client // Of api.
	base  string       // URL for http.
	token string       // The Wadi agent's own.
}

// New returns a client. It does no I/O except reading the certificate files.
func New(cfg Config) (*Client, error) {
	conn, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	c := &Client{}
	c.current.Store(conn)
	return c, nil
}

// Use makes c call as next does, a client of the same Consul with other credentials. Calls
// that wait for news end with the token that they began with.
func (c *Client) Use(next *Client) {
	c.current.Swap(next.conn()).http.CloseIdleConnections()
}

func (c *Client) conn() *connection { return c.current.Load() }

func (c *Client) api() *api.Client { return c.conn().api }

func connect(cfg Config) (*connection, error) {
	transport := api.DefaultConfig().Transport
	transport.MaxIdleConnsPerHost = 16
	conf := &api.Config{
		Address:   cfg.Address,
		Scheme:    "http",
		Token:     cfg.Token,
		Transport: transport,
		TLSConfig: api.TLSConfig{
			CAFile:             cfg.CAFile,
			CertFile:           cfg.CertFile,
			KeyFile:            cfg.KeyFile,
			InsecureSkipVerify: cfg.SkipVerify,
		},
	}
	if strings.HasPrefix(cfg.Address, "https://") {
		conf.Scheme = "https"
	}
	c, err := api.NewClient(conf)
	if err != nil {
		return nil, fmt.Errorf("consul %s: %w", cfg.Address, err)
	}
	conf.HttpClient.Transport = newPromptly(conf.HttpClient.Transport)
	base := strings.TrimRight(cfg.Address, "/")
	if strings.HasPrefix(base, "unix://") {
		base = "http://consul" // The transport dials the socket.
	} else if !strings.Contains(base, "://") {
		base = conf.Scheme + "://" + base
	}
	return &connection{api: c, http: conf.HttpClient, base: base, token: cfg.Token}, nil
}

// API is the underlying client of this moment, for calls that this package does not have:
// leaf certificates and roots. Errors can be translated with [Wrap].
func (c *Client) API() *api.Client { return c.api() }

// Agent is the self-description of Consul's agent.
type Agent struct {
	Node       string
	Datacenter string
	Address    string // The address that it advertises.
	Version    string
}

// Self reads the agent's self-description. It needs agent read.
func (c *Client) Self(ctx context.Context) (Agent, error) {
	var out struct {
		Config struct{ NodeName, Datacenter, Version string }
		Member struct{ Addr string }
	}
	_, err := c.api().Raw().Query("/v1/agent/self", &out, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return Agent{}, Wrap("read consul's agent", err)
	}
	return Agent{
		Node:       out.Config.NodeName,
		Datacenter: out.Config.Datacenter,
		Address:    out.Member.Addr,
		Version:    out.Config.Version,
	}, nil
}

// Leader returns the address of Consul's own leader; [wadi.ErrUnavailable] when
// there is none. It needs no right.
func (c *Client) Leader(ctx context.Context) (string, error) {
	addr, err := c.api().Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return "", Wrap("ask for consul's leader", err)
	}
	if addr == "" {
		return "", Wrap("ask for consul's leader", api.StatusError{Code: http.StatusInternalServerError, Body: noLeader})
	}
	return addr, nil
}

// present are the options of a read of the present state: Consul's leader first makes sure
// that it still leads and has caught up. A newly elected leader answers other reads with
// the part of its log that it has read so far, which may be nothing, and an empty answer
// would be believed.
func present(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

// blocking are the options of one blocking query. The context's deadline is later than
// Consul's own, so that an agent that vanished is noticed. The first query of a watch,
// with index 0, reads the present state.
func blocking(ctx context.Context, index uint64, wait time.Duration) (*api.QueryOptions, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, wait+wait/8+10*time.Second)
	q := &api.QueryOptions{WaitIndex: index, WaitTime: wait, RequireConsistent: index == 0}
	return q.WithContext(ctx), cancel
}
