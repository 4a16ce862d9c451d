// Package proxy has the rules and bounds that every hop of the data plane keeps, the
// queue-proxy, the activator and the gateway alike: which headers only Wadi may set, how a
// gRPC call is refused, how large a header or a frame may be, and how a connection learns
// that another protocol follows.
//
// It promises nothing about the way of a request, and decides nothing: its packages below
// do, each for one part of that way.
package proxy

import (
	"net/http"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/fields"
)

// StripInternal removes the headers that only Wadi may set, X-Forwarded-Client-Cert among
// them, and those with an underscore in their name that some apps can't distinguish from them. Every
// entrance calls it on a caller's header, and the last hop on the header that the app gets.
func StripInternal(h http.Header) {
	for name := range h {
		if IsInternal(name) {
			delete(h, name)
		}
	}
}

// IsInternal reports whether only Wadi may set a field. Its name is in http.Header's canonical
// form, which does not capitalise after an underscore.
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
