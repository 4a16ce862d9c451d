package gateway

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/wadi-run/wadi/proxy/connlimit"
)

// Caller identifies the sender of r, which g has served, so that callers can share fairly:
// the last address in X-Forwarded-For that is no trusted proxy's. g has removed what
// untrusted peers said there. All callers behind an untrusted proxy are one caller.
func (g *Gateway) Caller(r *http.Request) string {
	hops := r.Header["X-Forwarded-For"]
	if len(g.settings.Load().TrustedProxies) == 0 || len(hops) != 1 {
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
			break // A trusted proxy has put no address there: it stands for its callers.
		}
		ip = ip.Unmap().WithZone("")
		owner = connlimit.OwnerOf(ip.String())
		if !g.trusts(ip) {
			break
		}
	}
	return owner
}
