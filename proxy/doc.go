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
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/fields"
)

// StripInternal removes the headers that only Wadi may set, X-Forwarded-Client-Cert
// among them, and those with an underscore in their name that many an app can't tell
// from them. Every way into Wadi calls it on what a caller sent, and the last hop on
// what the app gets.
func StripInternal(h http.Header) {
	for name := range h {
		if IsInternal(name) {
			delete(h, name)
		}
	}
}

// IsInternal says whether only Wadi may set a field. Its name is canonical, as all
// names in a header are; with an underscore in it that may mean little.
func IsInternal(name string) bool {
	switch {
	case len(name) < len("Wadi-"):
		return false
	case name[0]|0x20 == 'w':
		return strings.EqualFold(name[:4], "Wadi") && (name[4] == '-' || name[4] == '_') && name != wadi.HeaderTag
	case name[0]|0x20 == 'x':
		return len(name) == len(fields.ClientCert) && strings.EqualFold(strings.ReplaceAll(name, "_", "-"), fields.ClientCert)
	}
	return false
}
