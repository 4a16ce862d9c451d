package api

import (
	"context"
	"net/http"
)

// Doctor returns the findings of all agents about themselves.
func (c *Client) Doctor(ctx context.Context) (Doctor, error) {
	return call[Doctor](ctx, c, http.MethodGet, "/v1/doctor", nil, nil)
}
