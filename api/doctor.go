package api

import (
	"context"
	"net/http"

	"github.com/wadi-run/wadi"
)

// Doctor is what the agents found about themselves.
type Doctor struct {
	Agents []wadi.AgentReport `json:"agents"`
}

// Doctor has all agents look at themselves.
func (c *Client) Doctor(ctx context.Context) (Doctor, error) {
	return call[Doctor](ctx, c, http.MethodGet, "/v1/doctor", nil, nil)
}
