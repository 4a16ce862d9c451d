package gateway

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/deadline"
)

// codeMisdirected is the Wadi-Error of a request on a connection of another host.
const codeMisdirected = "misdirected"

// acmePath is where authorities look for a proof that a host is somebody's.
const acmePath = "/.well-known/acme-challenge/"

// OverTLS is g for a listener with these certificates. A client may ask on one
// connection for every host that the connection's certificate covers, as HTTP/2
// allows; for any other host it gets 421 and opens a connection of its own (RFC
// 9110, 15.5.20). One that named no host in its handshake has seen the default
// certificate, and is not held to it: so do load balancers that pass requests on.
func (g *Gateway) OverTLS(c *Certificates) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && !c.covers(r.TLS.ServerName, r.Host) {
			g.refuse(w, r, activator.Refusal{Status: http.StatusMisdirectedRequest, Code: codeMisdirected,
				Message: "the certificate of this connection is not for host " + quotedHost(r.Host)})
			return
		}
		g.ServeHTTP(w, r)
	})
}

// covers reports whether a connection that asked for sni may be used for host.
func (c *Certificates) covers(sni, host string) bool {
	host = normalize(host)
	if sni == "" || host == normalize(sni) {
		return true
	}
	for _, p := range c.table.Load().covering(sni) {
		if p.cert.Leaf.VerifyHostname(host) == nil {
			return true
		}
	}
	return false
}

// RedirectToTLS is g for a plain listener whose callers are sent to https on port. Hosts
// that no service answers for get g's 404. What g answers plainly all the same:
// what authorities ask to see before there is a certificate, and requests that a
// trusted proxy took in over TLS.
func (g *Gateway) RedirectToTLS(port string) http.Handler {
	if port == "443" {
		port = ""
	} else {
		port = ":" + port
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, acmePath) || g.cameByTLS(r) || g.table.Load().lookup(r.Host) == nil {
			g.ServeHTTP(w, r)
			return
		}
		g.requests.WithLabelValues("redirected").Inc()
		deadline.EndUnread(w, r)
		path := r.URL.EscapedPath()
		if !strings.HasPrefix(path, "/") { // OPTIONS *.
			path = "/"
		}
		target := "https://" + normalize(r.Host) + port + path
		if r.URL.RawQuery != "" || r.URL.ForceQuery {
			target += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", target)
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusPermanentRedirect) // Method and body stay, unlike with 301.
	})
}

// certCollector shows the certificates as metrics. The label is the files' name:
// there are as many as the folder's owner puts there.
type certCollector struct{ c *Certificates }

func (m *certCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

func (m *certCollector) Collect(ch chan<- prometheus.Metric) {
	left := prometheus.NewDesc("wadi_gateway_certificate_remaining_seconds",
		"Time until a certificate of the gateway expires; negative: it has.", []string{"certificate"}, nil)
	broken := prometheus.NewDesc("wadi_gateway_certificate_problems",
		"Certificates of the gateway's folder that can't be loaded; what was there before is in force.", nil, nil)
	problems, now := 0, time.Now()
	for _, c := range m.c.List() {
		if c.Problem != "" {
			problems++
		}
		if !c.NotAfter.IsZero() {
			ch <- prometheus.MustNewConstMetric(left, prometheus.GaugeValue, c.NotAfter.Sub(now).Seconds(), strings.ToValidUTF8(c.Name, "?"))
		}
	}
	ch <- prometheus.MustNewConstMetric(broken, prometheus.GaugeValue, float64(problems))
}
