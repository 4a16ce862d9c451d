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

// Header is the field in which an Envoy describes its caller's certificate (XFCC): an element
// for each hop, the last one by the Envoy itself.
const Header = fields.ClientCert

// errMalformed: it is ambiguous which part of the value the Envoy wrote.
var errMalformed = errors.New("malformed " + Header)

// Cert is what an Envoy says of its caller: the last element of X-Forwarded-Client-Cert. The
// zero value says nothing.
type Cert struct {
	By, URI string // SPIFFE IDs of the Envoy's service and of its caller; empty unless named exactly once.

	element string
	before  string // What the caller passed on: the element before the last one.
}

// Parse reads the values of the header. It is strict: the caller of an Envoy writes what
// precedes that Envoy's element, and must not be able to begin a value that swallows it, or to
// make its beginning ambiguous.
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

// take reads the first element of s, and returns its length.
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

// valueEnd is the length of the value at the beginning of s.
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
			n += i + 2 // The escaped byte is part of the value.
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

// FromActivator reports whether service's Envoy names an activator of its own datacenter as
// its caller. Its agents count the requests that they send here.
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

// ForApp is the header's value for the app: the Envoy's element, or if the caller is an
// activator the activator's own caller, "" if that is outside the mesh. By is the Envoy's
// service either way.
func (c Cert) ForApp(service string) string {
	switch {
	case !c.FromActivator(service):
		return c.element
	case c.before == "":
		return ""
	}
	return "By=" + c.By + ";" + c.before
}

// Format is the element that an Envoy of the mesh would write for a caller with that chain of
// certificates, the caller's own first, but without By.
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

// appendPEM appends a certificate in Envoy's form: PEM, escaped for a URL.
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

// quoted is s, escaped to stand between quotes.
func quoted(s string) string {
	return printable(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s))
}

// unquoted is s without bytes that would end a value. Names in the mesh have none of them.
func unquoted(s string) string {
	return printable(strings.Map(func(r rune) rune {
		if r == ',' || r == ';' || r == '"' {
			return -1
		}
		return r
	}, s))
}

// printable is s without bytes that can't stand in a header.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
