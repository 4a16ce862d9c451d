package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

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

// EventQuery narrows down events. The zero value is the latest of all services.
type EventQuery struct {
	Service string // Empty: all services.
	After   uint64 // Only events after the one with this index; 0: all that are kept.
	Follow  bool   // Every later event too.
}

func (q EventQuery) values() url.Values {
	out := url.Values{}
	if q.Service != "" {
		out.Set("service", q.Service)
	}
	if q.After > 0 {
		out.Set("index", strconv.FormatUint(q.After, 10))
	}
	if !q.Follow {
		out.Set("follow", "false")
	}
	return out
}

// Events calls do for events, oldest first, until the agent closes the stream, ctx ends, or do
// returns an error, which Events returns. A stream that the agent ends because the token
// lost a right ends with an [*Error].
func (c *Client) Events(ctx context.Context, q EventQuery, do func(wadi.Event) error) error {
	resp, err := c.send(ctx, http.MethodGet, "/v1/events", q.values(), nil)
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
