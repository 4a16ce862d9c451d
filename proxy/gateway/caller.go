package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/proxy/connlimit"
)

// Caller names who sent r, which g has served: the address that is the last in
// X-Forwarded-For which no trusted proxy has. What was said by others g has taken away.
// It is for sharing among callers; behind a proxy that is not trusted all are one.
func (g *Gateway) Caller(r *http.Request) string {
	hops := r.Header["X-Forwarded-For"]
	if len(g.cfg.TrustedProxies) == 0 || len(hops) != 1 {
		return connlimit.OwnerOf(r.RemoteAddr)
	}
	rest, owner := hops[0], ""
	for rest != "" {
		var hop string
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			rest, hop = rest[:i], rest[i+1:]
		} else {
			rest, hop = "", rest
		}
		ip, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break // A proxy that is trusted says something else: it stands for its callers.
		}
		ip = ip.Unmap().WithZone("")
		owner = connlimit.OwnerOf(ip.String())
		if !slices.ContainsFunc(g.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) }) {
			break
		}
	}
	return owner
}
