package apitls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const (
	maxFile       = 1 << 20 // Bytes of one file.
	worldReadable = 0o004   // A bit of a file's mode.
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
	certPEM, err := readFile(f.Cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(f.Key)
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
		if caPEM, err = readFile(f.CA); err != nil {
			return nil, err
		}
		m.authority = x509.NewCertPool()
		if !m.authority.AppendCertsFromPEM(caPEM) {
			return nil, fmt.Errorf("%s: there is no certificate in it", f.CA)
		}
	}
	if info, err := os.Stat(f.Key); err == nil && info.Mode()&worldReadable != 0 {
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

// readFile reads a file of bounded size. Its errors begin with the path.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() { // Opening a pipe would wait for ever.
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, pathFirst(path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, pathFirst(path, err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = errors.New("larger than 1 MiB")
	}
	if err != nil {
		return nil, pathFirst(path, err)
	}
	return b, nil
}

func pathFirst(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}
