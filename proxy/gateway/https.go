package gateway

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/deadline"
)

// codeMisdirected is the Wadi-Error of a request on a connection for another host.
const codeMisdirected = "misdirected"

// acmePath is where certificate authorities check the control of a host (ACME).
const acmePath = "/.well-known/acme-challenge/"

// OverTLS is g for a listener with these certificates. A client may use one connection for
// every host that the connection's certificate covers, as HTTP/2 allows; for any other host
// it gets 421 and opens another connection (RFC 9110, 15.5.20). A connection without a
// server name may be used for all hosts: load balancers make such connections.
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

// covers reports whether a connection with the server name sni may be used for host.
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
	return false // A certificate of [Domains] is for its domain alone.
}

// RedirectToTLS is g for a plain listener whose callers are redirected to https on port.
// Hosts without a service get g's 404. g answers two kinds of requests itself: those of
// certificate authorities, and those that a trusted proxy took in over TLS.
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
		w.WriteHeader(http.StatusPermanentRedirect) // The client keeps method and body, unlike with 301.
	})
}

// certCollector collects the metrics of the certificates. The label is the files' name, so
// the folder's owner bounds the number of values.
type certCollector struct{ c *Certificates }

func (m *certCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

func (m *certCollector) Collect(ch chan<- prometheus.Metric) {
	left := prometheus.NewDesc("wadi_gateway_certificate_remaining_seconds",
		"Time until a certificate of the gateway expires; negative: it has.", []string{"certificate"}, nil)
	broken := prometheus.NewDesc("wadi_gateway_certificate_problems",
		"Certificates of the gateway's folder that can't be loaded; their previous version is in force.", nil, nil)
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
