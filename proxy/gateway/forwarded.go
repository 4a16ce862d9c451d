package gateway

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/wadi-run/wadi/proxy/fields"
)

// peer is the other end of a request's connection.
type peer struct {
	text    string // Its address, for the headers.
	trusted bool   // Its forwarding headers are believed.
}

func (g *Gateway) peerOf(r *http.Request) peer {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil { // Not from a TCP connection of net/http.
		return peer{text: r.RemoteAddr}
	}
	ip := addr.Addr().Unmap()
	ip = ip.WithZone("") // A zone has a meaning on this machine only.
	return peer{text: ip.String(), trusted: g.trusts(ip)}
}

// setForwarding sets the headers that describe the original caller to the app. The headers
// of a trusted peer are kept and extended, those of other peers removed: the app finds in
// X-Forwarded-For every hop up to the gateway, and in Forwarded (RFC 7239), too, if the peer
// uses that. The gateway never begins Forwarded itself, as a header with only a part of the
// hops would mislead the app. Envoy's header about the caller's certificate was stripped
// before.
func (g *Gateway) setForwarding(r *http.Request) {
	p, h := g.peerOf(r), r.Header
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	for name := range h {
		// An app that gets its headers as variables can't distinguish names with
		// underscores from those with dashes.
		if fields.IsForwarding(name) && (!p.trusted || strings.IndexByte(name, '_') >= 0) {
			delete(h, name)
		}
	}
	// One allocation for what most requests get. The names are canonical.
	values := [...]string{strings.Join(append(h["X-Forwarded-For"], p.text), ", "), scheme, r.Host}
	h["X-Forwarded-For"] = values[0:1:1]
	if said := h["Forwarded"]; len(said) > 0 {
		h["Forwarded"] = []string{strings.Join(append(said, "for="+node(p.text)+";proto="+scheme), ", ")}
	}
	if h.Get("X-Forwarded-Proto") == "" {
		h["X-Forwarded-Proto"] = values[1:2:2]
	}
	if h.Get("X-Forwarded-Host") == "" {
		h["X-Forwarded-Host"] = values[2:3:3]
	}
}

// node is an address in the form of Forwarded.
func node(ip string) string {
	if strings.Contains(ip, ":") {
		return `"[` + ip + `]"`
	}
	return ip
}

// cameByTLS reports whether a trusted proxy took the request in over TLS.
func (g *Gateway) cameByTLS(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") && g.peerOf(r).trusted
}
