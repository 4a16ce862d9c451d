package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/wadi-run/wadi"
)

// Held is what holding a count did.
type Held struct {
	Service  string     `json:"service"`
	Revision string     `json:"revision,omitempty"` // Empty: whichever has most of the traffic.
	Hold     *wadi.Hold `json:"hold"`               // Nil: none any more.
	Warnings []string   `json:"warnings,omitempty"`
}

// Hold has a service keep a count of instances for a time, whatever its load. An
// empty revision is whichever has most of the traffic.
func (c *Client) Hold(ctx context.Context, service, revision string, count int, d time.Duration) (Held, error) {
	body := map[string]any{"count": count, "for": wadi.Duration(d), "revision": revision}
	return call[Held](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/scale", nil, body)
}

// Release ends a hold.
func (c *Client) Release(ctx context.Context, service, revision string) (Held, error) {
	body := map[string]any{"revision": revision}
	return call[Held](ctx, c, http.MethodPut, "/v1/service/"+url.PathEscape(service)+"/scale", nil, body)
}
