package apitls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/wadi-run/wadi/internal/certfile"
)

// material is what one reading of the files gave. It never changes.
type material struct {
	cert         *tls.Certificate
	authority    *x509.CertPool // Nil: the system's.
	verifyClient bool
	looseKey     string
	sum          [sha256.Size]byte // Of all files.
	server       *tls.Config
}

// read reads the files.
func read(f Files) (*material, error) {
	if f.VerifyClient && f.CA == "" {
		return nil, errors.New("clients can't be verified without an authority (ca_file)")
	}
	certPEM, err := certfile.Read(f.Cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := certfile.Read(f.Key)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %s", f.Cert, f.Key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	m := &material{cert: &cert, verifyClient: f.VerifyClient}
	if len(m.names()) == 0 {
		return nil, fmt.Errorf("%s: the certificate has neither a DNS name nor an address (subjectAltName), so no client accepts it", f.Cert)
	}
	var caPEM []byte
	if f.CA != "" {
		if caPEM, err = certfile.Read(f.CA); err != nil {
			return nil, err
		}
		m.authority = x509.NewCertPool()
		if !m.authority.AppendCertsFromPEM(caPEM) {
			return nil, fmt.Errorf("%s: there is no certificate in it", f.CA)
		}
	}
	if certfile.IsExposed(f.Key) {
		m.looseKey = f.Key
	}
	m.sum = sha256.Sum256(fmt.Appendf(nil, "%q %q %q %s", certPEM, keyPEM, caPEM, m.looseKey))
	m.server = m.serverConfig()
	return m, nil
}

// serverConfig is the configuration of handshakes with m. HTTP/2 would add to what a client
// can do to the API, and nothing to what it can do with it.
func (m *material) serverConfig() *tls.Config {
	c := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{*m.cert},
		NextProtos:   []string{"http/1.1"},
	}
	if m.verifyClient {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, m.authority
	}
	return c
}

// names are the hosts and addresses of the certificate.
func (m *material) names() []string {
	var out []string
	out = append(out, m.cert.Leaf.DNSNames...)
	for _, ip := range m.cert.Leaf.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}
