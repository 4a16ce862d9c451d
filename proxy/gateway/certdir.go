package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi/internal/certfile"
)

// maxPairs bounds the folder with certificates.
const maxPairs = 10_000

// pair is a certificate of the folder with its key.
type pair struct {
	name       string // Of its files, without extension.
	cert       *tls.Certificate
	names      []string // DNS names of the certificate, in lower case.
	exposedKey string   // The key's file, if every user of the machine may read it.
	sum        [sha256.Size]byte
}

// pairFiles are the files with one name; "": there is no such file.
type pairFiles struct{ pem, crt, key string }

// fileState is the state of a file without its content.
type fileState struct {
	path string
	info fs.FileInfo // Of a link's target; nil: unknown.
}

func (a fileState) same(b fileState) bool {
	if a.path != b.path || a.info == nil || b.info == nil {
		return a.path == b.path && a.info == nil && b.info == nil
	}
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() &&
		a.info.Mode() == b.info.Mode() && a.info.ModTime().Equal(b.info.ModTime())
}

// settled reports whether the file was written so long before now that a further write
// would change its state.
func (a fileState) settled(now time.Time) bool {
	return a.info != nil && now.Sub(a.info.ModTime()) > 2*pollInterval
}

// scan lists the folder: the files of each pair, by name, and their states. It skips names
// that begin with a dot, as Kubernetes keeps the targets of its links there.
func scan(dir string) (found map[string]pairFiles, states []fileState, err error) {
	entries, err := os.ReadDir(dir) // Sorted.
	if err != nil {
		return nil, nil, err
	}
	found = map[string]pairFiles{}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), ext)
		if name == "" || name[0] == '.' {
			continue
		}
		files, path := found[name], filepath.Join(dir, e.Name())
		switch ext {
		case ".pem":
			files.pem = path
		case ".crt":
			files.crt = path
		case ".key":
			files.key = path
		default:
			continue
		}
		found[name] = files
		info, _ := os.Stat(path) // Reading the file returns the error.
		states = append(states, fileState{path, info})
	}
	if len(found) > maxPairs {
		return nil, nil, fmt.Errorf("there are more than %d certificates", maxPairs)
	}
	return found, states, nil
}

// errNoPair is about a certificate that is no server's but an authority's.
var errNoPair = errors.New("no pair")

// load reads one pair. Errors name the faulty file.
func (f pairFiles) load(name string) (*pair, error) {
	certFile, keyFile := f.pem, f.key
	switch {
	case f.pem != "" && f.crt != "":
		return nil, fmt.Errorf("%s: %s stands beside it; remove one of the two", f.pem, filepath.Base(f.crt))
	case f.pem == "" && f.crt == "":
		return nil, fmt.Errorf("%s: there is no %s.pem or %s.crt for this key", f.key, name, name)
	case f.pem == "":
		certFile = f.crt
	}
	certPEM, err := certfile.Read(certFile)
	if err != nil {
		return nil, err
	}
	keyPEM := certPEM
	if keyFile == "" {
		keyFile = certFile
	} else if keyPEM, err = certfile.Read(keyFile); err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		if f.key == "" && !strings.Contains(string(certPEM), "PRIVATE KEY-----") {
			return nil, withoutKey(name, certFile, certPEM)
		}
		if keyFile != certFile {
			certFile += " with " + keyFile
		}
		return nil, fmt.Errorf("%s: %s", certFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	p := &pair{name: name, cert: &cert, sum: sha256.Sum256(slices.Concat(certPEM, []byte{0}, keyPEM))}
	for _, n := range cert.Leaf.DNSNames {
		p.names = append(p.names, normalize(n))
	}
	if len(p.names) == 0 {
		return nil, fmt.Errorf("%s: the certificate has no DNS name (subjectAltName), by which clients choose it", certFile)
	}
	if certfile.IsExposed(keyFile) {
		p.exposedKey = keyFile
	}
	return p, nil
}

// withoutKey is the error about a certificate without a key.
func withoutKey(name, file string, certPEM []byte) error {
	if isCA(certPEM) {
		return errNoPair
	}
	return fmt.Errorf("%s: there is no key in it, and no %s.key beside it", file, name)
}
