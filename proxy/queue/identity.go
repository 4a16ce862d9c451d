package queue

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/clientcert"
)

// identity is what is proved about a request's sender.
type identity struct {
	proxied  bool   // It is an activator, which counts the request too.
	mirrored bool   // The request is a copy of one that another revision serves.
	cert     string // The header about the caller's certificate, for the app; "" without one.
}

// identify believes those claims in h that Envoy has verified, or without the mesh those
// with the secret. Behind Envoy, only processes of the instance itself reach the traffic
// listener otherwise.
func (p *Proxy) identify(h http.Header) identity {
	id := p.sender(h)
	id.mirrored = id.proxied && h[wadi.HeaderMirror] != nil
	return id
}

// sender is identify without what a believed sender says about the request.
func (p *Proxy) sender(h http.Header) identity {
	claim := first(h[wadi.HeaderProxied])
	if p.cfg.Envoy == "" {
		return identity{proxied: p.provesActivator(claim)}
	}
	cert, err := clientcert.Parse(h[clientcert.Header])
	if err != nil {
		return identity{} // Envoy's own part can't be separated from its caller's.
	}
	return identity{
		proxied: claim != "" && cert.FromActivator(p.cfg.Service),
		cert:    cert.ForApp(p.cfg.Service),
	}
}

// provesActivator reports whether claim is the revision's secret.
func (p *Proxy) provesActivator(claim string) bool {
	if claim == "" || len(p.cfg.Proof) == 0 {
		return false
	}
	sum := sha256.Sum256([]byte(claim))
	return subtle.ConstantTimeCompare(sum[:], p.cfg.Proof) == 1
}
