package queue

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/clientcert"
)

// identity is what is proved about who sent a request.
type identity struct {
	proxied bool   // An activator did, which counts it too.
	cert    string // What the app is told of the caller's certificate; "" without one.
}

// identify believes of h what Envoy has verified, and without the mesh what is proved.
// Behind Envoy nobody else reaches the traffic listener but what runs in the instance
// itself.
func (p *Proxy) identify(h http.Header) identity {
	claim := first(h[wadi.HeaderProxied])
	if p.cfg.Envoy == "" {
		return identity{proxied: p.provesActivator(claim)}
	}
	cert, err := clientcert.Parse(h[clientcert.Header])
	if err != nil {
		return identity{} // What Envoy said can't be told from what its caller did.
	}
	return identity{
		proxied: claim != "" && cert.FromActivator(p.cfg.Service),
		cert:    cert.Told(p.cfg.Service),
	}
}

// provesActivator says whether claim is the revision's secret.
func (p *Proxy) provesActivator(claim string) bool {
	if claim == "" || len(p.cfg.Proof) == 0 {
		return false
	}
	sum := sha256.Sum256([]byte(claim))
	return subtle.ConstantTimeCompare(sum[:], p.cfg.Proof) == 1
}
