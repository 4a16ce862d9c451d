package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// anonymous is the token of callers without one, by Consul's own name for it. An
// empty one would stand for the default token of Consul's agent, and for ours in
// the client's library: a caller without a token would get rights of others.
const anonymous = "anonymous"

// MayWriteIntentions asks Consul whether a token may write the intentions of a
// service: nil, or an error that wraps [wadi.ErrForbidden]. Without ACLs everybody
// may.
func (c *Client) MayWriteIntentions(ctx context.Context, token, service string) error {
	what := "ask for the right to intentions of " + service
	token = strings.TrimSpace(token) // As on the wire.
	if token == "" {
		token = anonymous
	}
	type right struct {
		Resource, Segment, Access string
		Allow                     bool `json:",omitempty"` // Of the answer; Consul refuses it in a question.
	}
	body, err := json.Marshal([]right{{Resource: "intention", Segment: service, Access: "write"}})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	answer, err := c.post(ctx, "/v1/internal/acl/authorize", token, body)
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusUnauthorized && strings.Contains(status.Body, "ACL support disabled") {
		return nil
	}
	if err != nil {
		return wrap(what, err, wadi.ErrForbidden) // It is the caller's.
	}
	var rights []right
	if err := json.Unmarshal(answer, &rights); err != nil || len(rights) != 1 {
		return fmt.Errorf("%s: consul's answer is not understood", what)
	}
	if got := rights[0]; !got.Allow || got.Resource != "intention" || got.Segment != service || got.Access != "write" {
		return fmt.Errorf("%s: %w", what, wadi.ErrForbidden)
	}
	return nil
}

// post is a call that the library has no word for. Errors never hold the token.
func (c *Client) post(ctx context.Context, path, token string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Consul-Token", token)
	resp, err := c.http.Do(req)
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
