package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
)

// TLS says how the client and an agent with HTTPS know each other.
type TLS struct {
	CAFile     string // PEM: the authorities of agents; empty: the system's.
	CertFile   string // PEM: the client's certificate, for agents that ask for one; empty: none.
	KeyFile    string // PEM: its key.
	ServerName string // The name in the agent's certificate; empty: the host of the address.
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		b, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the authorities of agents: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("read the authorities of agents: there is no certificate in %s", t.CAFile)
		}
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return c, nil
	case t.CertFile == "" || t.KeyFile == "":
		return nil, errors.New("a client certificate and its key go together")
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the client certificate: %w", err)
	}
	// Go sends no certificate where the agent does not name its issuer, and the agent's
	// refusal would not say why.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return c, nil
}

// misconfigured says what to change where err shows that client and agent speak different
// protocols, or do not know each other; empty: it does not.
func (c *Client) misconfigured(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var op *net.OpError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return "this agent's API speaks plain HTTP: call it with http:// in its address"
	case errors.As(err, &unknown):
		return "name the authority of the agents' certificates (-ca-cert or WADI_CACERT)"
	case errors.As(err, &name):
		return "call the agent by a name in its certificate, or give that name (-tls-server-name or WADI_TLS_SERVER_NAME)"
	case errors.As(err, &op) && op.Op == "remote error": // An alert of TLS.
		return "the agent refuses the connection; if it asks for a client certificate, give one that it accepts (-client-cert and -client-key, or WADI_CLIENT_CERT and WADI_CLIENT_KEY)"
	}
	return ""
}
