package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// anonymous is Consul's own name for the token of callers without one. An empty token
// would be replaced by the default token of Consul's agent, or by the Wadi agent's in the
// client library: a caller without a token would get their rights.
const anonymous = "anonymous"

// MayWriteIntentions returns nil if a token may write the intentions of a service, or an
// error that wraps [wadi.ErrForbidden] if not. Without ACLs every token may.
func (c *Client) MayWriteIntentions(ctx context.Context, token, service string) error {
	what := "ask for the right to intentions of " + service
	token = strings.TrimSpace(token) // HTTP trims headers, too.
	if token == "" {
		token = anonymous
	}
	asked := Right{Resource: "intention", Segment: service, Access: "write"}
	var err error
	retryRefused(ctx, func() (refused bool) {
		if err != nil && ctx.Err() != nil {
			return false // There is no time for a second question: the first answer stands.
		}
		err = c.mayOnce(ctx, what, token, asked)
		return errors.Is(err, wadi.ErrForbidden) && token != anonymous
	})
	return err
}

func (c *Client) mayOnce(ctx context.Context, what, token string, asked Right) error {
	got, err := c.authorize(ctx, token, []Right{asked})
	if err != nil {
		return wrap(what, err, wadi.ErrForbidden) // It is the caller's right that is missing.
	}
	if !got[0].Allow {
		return fmt.Errorf("%s: %w", what, wadi.ErrForbidden)
	}
	return nil
}

// post makes a call that the client library does not have. Its errors never contain the
// token.
func (c *Client) post(ctx context.Context, path, token string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.conn().base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Consul-Token", token)
	resp, err := c.conn().http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	out, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, api.StatusError{Code: resp.StatusCode, Body: strings.TrimSpace(string(out))}
	}
	return out, nil
}
