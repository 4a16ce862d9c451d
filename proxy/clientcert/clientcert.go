// Package clientcert reads and writes X-Forwarded-Client-Cert (XFCC), by which an Envoy
// names the caller whose certificate it has verified.
//
// It promises to refuse a value that could be read in two ways. It verifies no certificate.
package clientcert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/fields"
)

// Header is what an Envoy tells of its caller's certificate (XFCC): an
// element for each hop, the last one the Envoy's own.
const Header = fields.ClientCert

// errMalformed: nobody could say which Envoy wrote what of it.
var errMalformed = errors.New("malformed " + Header)

// Cert is what an Envoy says of its caller: the last element of what came in
// X-Forwarded-Client-Cert. The zero value says nothing.
type Cert struct {
	By, URI string // The Envoy's name in the mesh, and its caller's; empty if not told once.

	element string
	before  string // What the caller passed on: the last element before this one.
}

// Parse reads the values of the header. It is strict: who calls an Envoy
// writes what is before that one's element, and must not be able to begin a value
// that swallows it, or to leave any doubt where it begins.
func Parse(values []string) (Cert, error) {
	var c Cert
	if len(values) == 0 {
		return c, nil
	}
	s := values[0]
	if len(values) > 1 {
		s = strings.Join(values, ",")
	}
	for {
		last := Cert{before: c.element}
		n, err := last.take(s)
		if err != nil {
			return Cert{}, err
		}
		if n == len(s) {
			return last, nil
		}
		c, s = last, strings.TrimLeft(s[n+1:], " \t")
	}
}

// take reads the element that s begins with, and returns its length.
func (c *Cert) take(s string) (n int, err error) {
	var by, uri int
	for {
		eq := strings.IndexByte(s[n:], '=')
		if eq < 0 || !isFieldName(s[n:n+eq]) {
			return 0, errMalformed
		}
		name := s[n : n+eq]
		n += eq + 1
		m, err := valueEnd(s[n:])
		if err != nil {
			return 0, err
		}
		switch value := s[n : n+m]; {
		case strings.EqualFold(name, "By"):
			c.By, by = value, by+1
		case strings.EqualFold(name, "URI"):
			c.URI, uri = value, uri+1
		}
		if n += m; n == len(s) || s[n] == ',' {
			break
		}
		n++ // A semicolon.
	}
	if by != 1 {
		c.By = ""
	}
	if uri != 1 {
		c.URI = ""
	}
	c.element = s[:n]
	return n, nil
}

// valueEnd is where the value ends that s begins with: at a separator, or with s.
func valueEnd(s string) (int, error) {
	if s == "" || s[0] != '"' {
		for n := range len(s) {
			switch s[n] {
			case ';', ',':
				return n, nil
			case '"':
				return 0, errMalformed
			}
		}
		return len(s), nil
	}
	for n := 1; ; {
		quote := strings.IndexByte(s[n:], '"')
		if quote < 0 {
			return 0, errMalformed
		}
		if i := strings.IndexByte(s[n:n+quote], '\\'); i >= 0 {
			n += i + 2 // What follows it is part of the value.
			continue
		}
		if n += quote + 1; n == len(s) || s[n] == ';' || s[n] == ',' {
			return n, nil
		}
		return 0, errMalformed
	}
}

func isFieldName(s string) bool {
	for i := range len(s) {
		if !fields.IsToken(s[i]) {
			return false
		}
	}
	return s != ""
}

// FromActivator says whether service's Envoy names an activator as its caller: one of
// its own datacenter, whose agents count what they send here.
func (c Cert) FromActivator(service string) bool {
	where, own, ok := cutService(c.By)
	there, caller, ok2 := cutService(c.URI)
	return ok && ok2 && own == service && where == there && slices.Contains(wadi.Activators(), caller)
}

// cutService takes a service's name off its SPIFFE ID.
func cutService(id string) (where, service string, ok bool) {
	const scheme, mark = "spiffe://", "/svc/"
	i := strings.LastIndex(id, mark)
	if !strings.HasPrefix(id, scheme) || i <= len(scheme) {
		return "", "", false
	}
	where, service = id[:i], id[i+len(mark):]
	return where, service, service != "" && !strings.Contains(service, "/")
}

// Told is what an app is told of the caller: what the Envoy says, and of an activator
// what that says of its own caller; "" if that came from outside the mesh. The name
// of who was called is then the Envoy's, so that it is the same either way.
func (c Cert) Told(service string) string {
	switch {
	case !c.FromActivator(service):
		return c.element
	case c.before == "":
		return ""
	}
	return "By=" + c.By + ";" + c.before
}

// Format is what an Envoy of the mesh says of a caller with that chain, the
// caller's own certificate first, but for its own name.
func Format(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	leaf := chain[0]
	sum := sha256.Sum256(leaf.Raw)
	b := make([]byte, 0, 4<<10)
	b = append(b, "Hash="...)
	b = hex.AppendEncode(b, sum[:])
	b = append(b, `;Cert="`...)
	b = appendPEM(b, leaf)
	b = append(b, `";Chain="`...)
	for _, c := range chain {
		b = appendPEM(b, c)
	}
	b = append(b, `";Subject="`...)
	b = append(b, quoted(leaf.Subject.String())...)
	b = append(b, '"')
	for _, u := range leaf.URIs {
		b = append(append(b, ";URI="...), unquoted(u.String())...)
	}
	for _, name := range leaf.DNSNames {
		b = append(append(b, ";DNS="...), unquoted(name)...)
	}
	return string(b)
}

// appendPEM appends a certificate as Envoy has it: PEM, escaped for a URL.
func appendPEM(b []byte, c *x509.Certificate) []byte {
	for _, x := range pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) {
		switch x {
		case '\n':
			b = append(b, "%0A"...)
		case ' ':
			b = append(b, "%20"...)
		case '+':
			b = append(b, "%2B"...)
		case '/':
			b = append(b, "%2F"...)
		case '=':
			b = append(b, "%3D"...)
		default:
			b = append(b, x)
		}
	}
	return b
}

// quoted is s for between quotes.
func quoted(s string) string {
	return printable(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s))
}

// unquoted is s without what would end a value. The mesh's names have none of it.
func unquoted(s string) string {
	return printable(strings.Map(func(r rune) rune {
		if r == ',' || r == ';' || r == '"' {
			return -1
		}
		return r
	}, s))
}

// printable is s without what can't stand in a header.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
