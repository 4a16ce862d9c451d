// Package proxy is the core of the data plane, shared by the queue-proxy, the
// activator and the gateway: a limiter with a first come, first served queue,
// statistics per second, timeouts of a request, and the forwarding of a request
// to one peer.
//
// It promises that nothing in it grows without a bound, and that no body is
// ever held whole. It decides nothing: who is asked, who is woken and what is
// retried is up to its callers. It knows neither Nomad nor Consul.
package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// StripInternal removes the headers that only Wadi may set, and those with an
// underscore in their name that many an app can't tell from them. Every way into
// Wadi calls it on what a caller sent, and the last hop on what the app gets.
func StripInternal(h http.Header) {
	for name := range h {
		// As all names in a header, they are canonical.
		if strings.HasPrefix(name, "Wadi") && (strings.HasPrefix(name, "Wadi_") || slices.Contains(wadi.InternalHeaders(), name)) {
			delete(h, name)
		}
	}
}
