package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi/internal/certfile"
)

// defaultTimeout is that of settings without one.
const defaultTimeout = 10 * time.Second

// loaded are settings with their files read.
type loaded struct {
	Settings
	roots *x509.CertPool // Nil: the system's.
}

// load reads the files of settings, and checks that the Docker configuration can be read. That
// is read again for each question.
func load(s Settings) (*loaded, error) {
	l := &loaded{Settings: s}
	if s.Timeout <= 0 {
		l.Timeout = defaultTimeout
	}
	if s.CAFile != "" {
		pem, err := certfile.Read(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read images.ca_file: %w", err)
		}
		l.roots = systemRoots()
		if !l.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read images.ca_file: %s: no certificate in it", s.CAFile)
		}
	}
	if s.DockerConfig != "" {
		if _, err := readDockerConfig(s.DockerConfig); err != nil {
			return nil, fmt.Errorf("read images.docker_config: %w", err)
		}
	}
	return l, nil
}

func systemRoots() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil { // There is none.
		return x509.NewCertPool()
	}
	return pool
}

// mayPlain reports whether a host, with its port if its name has one, may be spoken to without
// a certificate that is good.
func (l *loaded) mayPlain(hostport string) bool {
	host := hostOf(hostport)
	return namesLoopback(host) || slices.Contains(l.InsecureRegistries, hostport) || slices.Contains(l.InsecureRegistries, host)
}

// hostOf is a host without port and brackets.
func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// tlsConfig is that of connections to a host. Docker's folder of certificates has a folder for
// each host, with authorities (*.crt) and client certificates (*.cert with *.key).
func (l *loaded) tlsConfig(hostport string) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: l.roots, ServerName: hostOf(hostport),
		InsecureSkipVerify: l.mayPlain(hostport), // Plain HTTP would be allowed too.
	}
	if l.CertsDir == "" || !folderRule.MatchString(hostport) {
		return c, nil
	}
	dir := filepath.Join(l.CertsDir, hostport)
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, certfile.PathFirst(dir, err)
	}
	for _, e := range found[:min(len(found), maxCertFiles)] {
		if err := addCertificate(c, filepath.Join(dir, e.Name()), l.roots); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// folderRule is for hosts that are names of folders: redirects may lead to any text.
var folderRule = regexp.MustCompile(`^[a-zA-Z0-9\[][a-zA-Z0-9.:\[\]-]*$`)

const maxCertFiles = 50

// addCertificate adds a file of Docker's folder; what has another name is no certificate.
func addCertificate(c *tls.Config, path string, roots *x509.CertPool) error {
	switch filepath.Ext(path) {
	case ".crt":
		pem, err := certfile.Read(path)
		if err != nil {
			return err
		}
		if c.RootCAs == nil {
			c.RootCAs = systemRoots()
		} else if c.RootCAs == roots {
			c.RootCAs = roots.Clone()
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: no certificate in it", path)
		}
	case ".cert":
		cert, err := certfile.Read(path)
		if err != nil {
			return err
		}
		keyPath := strings.TrimSuffix(path, ".cert") + ".key"
		key, err := certfile.Read(keyPath)
		if err != nil {
			return err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		c.Certificates = append(c.Certificates, pair)
	}
	return nil
}
