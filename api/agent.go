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

// Self returns the agent's name, version and addresses.
func (c *Client) Self(ctx context.Context) (Self, error) {
	return call[Self](ctx, c, http.MethodGet, "/v1/agent/self", nil, nil)
}

// Leader returns the leading agent. While no agent leads, the error wraps
// [wadi.ErrUnavailable].
func (c *Client) Leader(ctx context.Context) (Leader, error) {
	return call[Leader](ctx, c, http.MethodGet, "/v1/status/leader", nil, nil)
}

// Health returns nil while the agent is healthy, else an error with its problems.
func (c *Client) Health(ctx context.Context) error {
	_, err := call[Health](ctx, c, http.MethodGet, "/v1/agent/health", nil, nil)
	return err
}

// Reload has the agent read its configuration again. A configuration with mistakes changes
// nothing: the error is an [*Error] with all of them.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	return call[Reloaded](ctx, c, http.MethodPut, "/v1/agent/reload", nil, nil)
}

// Events calls do for the latest events, oldest first, and with follow for every later
// event, until ctx ends, the agent closes the stream, or do returns an error, which
// Events returns. service narrows them to one service; empty is all. A stream that the
// agent ends because the token lost a right ends with an [*Error].
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
			continue // A heartbeat.
		}
		var e struct {
			wadi.Event
			*Error // Why the agent ends the stream; nil: it goes on.
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if e.Error != nil {
			return e.Error
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
