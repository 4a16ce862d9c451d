package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/proxy/fields"
)

// peer is who sent r to us.
type peer struct {
	text    string // Its address, as it is forwarded.
	trusted bool   // It may say on whose behalf it asks.
}

func (g *Gateway) peerOf(r *http.Request) peer {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil { // Nothing that net/http says of a TCP connection.
		return peer{text: r.RemoteAddr}
	}
	ip := addr.Addr().Unmap()
	ip = ip.WithZone("") // It means something on this machine alone.
	return peer{text: ip.String(), trusted: slices.ContainsFunc(g.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) })}
}

// setForwarding tells the app on whose behalf the request comes. Only a trusted peer is
// believed what it says about that (but for the caller's certificate in Envoy's form,
// which is between Envoys and stripped before), and is added to what it says: the app finds in
// X-Forwarded-For every hop up to the gateway's, and in Forwarded (RFC 7239) if the
// peer uses that. It is not begun here: with a part of the hops in one of the two, an
// app that reads either would be misled.
func (g *Gateway) setForwarding(r *http.Request) {
	p, h := g.peerOf(r), r.Header
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	for name := range h {
		// An app that gets its headers as variables can't tell those with an underscore
		// from others.
		if fields.IsForwarding(name) && (!p.trusted || strings.IndexByte(name, '_') >= 0) {
			delete(h, name)
		}
	}
	// One piece of memory for what most requests get. The names are canonical.
	told := [...]string{strings.Join(append(h["X-Forwarded-For"], p.text), ", "), scheme, r.Host}
	h["X-Forwarded-For"] = told[0:1:1]
	if said := h["Forwarded"]; len(said) > 0 {
		h["Forwarded"] = []string{strings.Join(append(said, "for="+node(p.text)+";proto="+scheme), ", ")}
	}
	if h.Get("X-Forwarded-Proto") == "" {
		h["X-Forwarded-Proto"] = told[1:2:2]
	}
	if h.Get("X-Forwarded-Host") == "" {
		h["X-Forwarded-Host"] = told[2:3:3]
	}
}

// node is an address as Forwarded has it.
func node(ip string) string {
	if strings.Contains(ip, ":") {
		return `"[` + ip + `]"`
	}
	return ip
}

// cameByTLS reports whether a trusted proxy says that its caller spoke TLS.
func (g *Gateway) cameByTLS(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") && g.peerOf(r).trusted
}
