package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/wadi-run/wadi"
)

const maxEvent = 1 << 20 // Bytes of one event.

// Self is what an agent says about itself.
type Self struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	API           string `json:"api,omitempty"`
	Gateway       string `json:"gateway,omitempty"`
	GatewayTLS    string `json:"gateway_tls,omitempty"`
	GatewayDomain string `json:"gateway_domain,omitempty"`
	Metrics       string `json:"metrics,omitempty"`
	Leader        bool   `json:"leader"` // It leads now.
}

// Leader is the agent that leads.
type Leader struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"` // Base URL of its API.
}

// Self asks the agent who it is.
func (c *Client) Self(ctx context.Context) (Self, error) {
	return call[Self](ctx, c, http.MethodGet, "/v1/agent/self", nil, nil)
}

// Leader asks who leads. While nobody does, the error wraps wadi.ErrUnavailable.
func (c *Client) Leader(ctx context.Context) (Leader, error) {
	return call[Leader](ctx, c, http.MethodGet, "/v1/status/leader", nil, nil)
}

// Health returns nil while the agent is well, else an error that says why not.
func (c *Client) Health(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, http.MethodGet, "/v1/agent/health", nil, nil)
	return err
}

// Events calls do for the latest events, oldest first, and with follow for those
// that come, until ctx ends, the agent closes the stream, or do returns an error,
// which Events returns. An agent that ends it for want of a right says so: an [*Error]. service narrows them to one service; empty is all.
func (c *Client) Events(ctx context.Context, service string, follow bool, do func(wadi.Event) error) error {
	query := url.Values{}
	if service != "" {
		query.Set("service", service)
	}
	if !follow {
		query.Set("follow", "false")
	}
	resp, err := c.send(ctx, http.MethodGet, "/v1/events", query, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4096), maxEvent)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || bytes.Equal(line, []byte("{}")) {
			continue // The agent says that it is there.
		}
		var e struct {
			wadi.Event
			Error  string `json:"error"` // Why the agent ends the stream.
			Status int    `json:"status"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if e.Error != "" {
			return &Error{Status: e.Status, Message: e.Error}
		}
		if err := do(e.Event); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read events: %w: %w", wadi.ErrUnavailable, err)
	}
	return nil
}
