package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wadi-run/wadi/proxy/deadline"
)

// protocolACME is the protocol (ALPN) of an authority that checks a domain (RFC 8737).
const protocolACME = "acme-tls/1"

// Domains has the certificates that are obtained for single domains, and what their
// authority is answered. All names are in lower case. Its methods are called for any name
// that a caller claims.
type Domains interface {
	// Certificate returns the certificate of a domain; nil: there is none. It does not block.
	Certificate(domain string) *tls.Certificate
	// AnswerHTTP is the answer to an authority that asks a domain for a token; false: no
	// authority is to be answered.
	AnswerHTTP(ctx context.Context, domain, token string) (answer string, ok bool)
	// AnswerTLS is the certificate for an authority that checks a domain; nil: none does.
	AnswerTLS(ctx context.Context, domain string) *tls.Certificate
}

// forAuthority is the configuration for an authority that checks a domain: nothing but its
// certificate. Other clients get the usual one.
func (c *Certificates) forAuthority(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.Equal(hello.SupportedProtos, []string{protocolACME}) {
		return nil, nil
	}
	cert := c.domains.AnswerTLS(hello.Context(), normalize(hello.ServerName))
	if cert == nil {
		return nil, errors.New("no certificate authority checks this domain now")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}, NextProtos: []string{protocolACME},
		SessionTicketsDisabled: true,
	}, nil
}

// answerAuthority answers an authority that checks a domain. It returns false for all other
// requests, those of an app's own authority included.
func (g *Gateway) answerAuthority(w http.ResponseWriter, r *http.Request) bool {
	if g.cfg.Domains == nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	token, ok := strings.CutPrefix(r.URL.Path, acmePath)
	if !ok {
		return false
	}
	answer, ok := g.cfg.Domains.AnswerHTTP(r.Context(), normalize(r.Host), token)
	if !ok {
		return false
	}
	g.requests.WithLabelValues("authority").Inc()
	deadline.EndUnread(w, r)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, answer) // The authority is gone.
	}
	return true
}
