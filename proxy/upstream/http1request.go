package upstream

import (
	"errors"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/wadi-run/wadi/proxy/fields"
)

// http1Plan says how a request is written where it is not passed on as it came.
type http1Plan struct {
	target  string
	length  int64 // Of the body; -1: chunked.
	body    bool
	expect  bool   // The caller waits for 100 Continue.
	upgrade string // The protocol that the caller offers to change to.
	te      bool   // The caller takes trailers.
	dropped []string
}

// unsendable is the error of a request that HTTP/1.1 can't carry.
func unsendable(what string) error { return &unsendableError{errors.New("request with " + what)} }

// planHTTP1 reads r.
func planHTTP1(r *http.Request) (http1Plan, error) {
	p := http1Plan{target: requestTarget(r)}
	switch {
	case !isMethod(r.Method):
		return p, unsendable("a method that can't be forwarded")
	case !isVisible(p.target):
		return p, unsendable("a target that is no request line's")
	case !isVisible(r.Host):
		return p, unsendable("a host that is none")
	}
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		p.body, p.length = true, r.ContentLength
		if len(r.Trailer) > 0 {
			p.length = -1 // Only a chunked body has trailers.
		}
	}
	for _, v := range r.Header["Connection"] {
		p.options(v, r)
	}
	if p.body && r.ProtoAtLeast(1, 1) {
		p.expect = hasToken(r.Header["Expect"], "100-continue")
	}
	p.te = hasToken(r.Header["Te"], "trailers")
	return p, nil
}

// options reads a Connection header. A caller may not have the
// fields dropped that say on whose behalf a request comes.
func (p *http1Plan) options(value string, r *http.Request) {
	for option := range strings.SplitSeq(value, ",") {
		switch option = http.CanonicalHeaderKey(textproto.TrimString(option)); {
		case option == "", option == "Close", option == "Keep-Alive", fields.IsForwarding(option):
		case option == "Upgrade":
			p.upgrade = upgradeOf(r)
		default:
			p.dropped = append(p.dropped, option)
		}
	}
}

// upgradeOf is the protocol that r offers to change to, if it is allowed. Another version of
// HTTP is not: its requests would not be seen here.
func upgradeOf(r *http.Request) string {
	to := strings.Join(r.Header["Upgrade"], ", ")
	for name := range strings.SplitSeq(to, ",") {
		name, _, _ = strings.Cut(textproto.TrimString(name), "/")
		if name = strings.ToLower(name); name == "h2c" || name == "h2" || name == "http" || name == "tls" {
			return ""
		}
	}
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 {
		return ""
	}
	return to
}

// requestTarget is the path and query that came, byte for byte. Of a target with a host, which
// is in r.Host, it is the rest.
func requestTarget(r *http.Request) string {
	target := r.RequestURI
	if target == "" {
		return r.URL.RequestURI()
	}
	if target[0] == '/' || target == "*" {
		return target
	}
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return "" // Not a target that a server accepts.
	}
	i := strings.IndexAny(rest, "/?#")
	switch {
	case i >= 0 && rest[i] == '/':
		return rest[i:]
	case i >= 0:
		return "/" + rest[i:]
	case r.Method == http.MethodOptions:
		return "*"
	}
	return "/"
}

// append appends r's head. The lines in fixed replace r's fields of those names.
func (p *http1Plan) append(b []byte, r *http.Request, set http.Header, fixed []byte) ([]byte, error) {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, p.target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	for name, values := range r.Header {
		if isFraming(name) || isHopByHop(name) || set != nil && set[name] != nil || slices.Contains(p.dropped, name) {
			continue
		}
		for _, value := range values {
			var ok bool
			if b, ok = appendField(b, name, value); !ok {
				return b, unsendable("a header field that is none")
			}
		}
	}
	b = append(b, fixed...)
	if p.te {
		b = append(b, "Te: trailers\r\n"...)
	}
	if p.upgrade != "" {
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(b, p.upgrade...)
		b = append(b, "\r\n"...)
	}
	return append(p.appendFraming(b, r), "\r\n"...), nil
}

// appendFraming appends the fields that say where the body ends.
func (p *http1Plan) appendFraming(b []byte, r *http.Request) []byte {
	switch {
	case p.body && p.length >= 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, p.length, 10)
		b = append(b, "\r\n"...)
	case p.body:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range r.Trailer {
			if name, ok := canonicalName(name); ok && fields.MayTrail(name) {
				b = append(b, "Trailer: "...)
				b = append(b, name...)
				b = append(b, "\r\n"...)
			}
		}
	case r.Header["Content-Length"] != nil, r.Method == http.MethodPost, r.Method == http.MethodPut, r.Method == http.MethodPatch:
		b = append(b, "Content-Length: 0\r\n"...)
	}
	if p.expect {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	return b
}

// appendField appends a line of a header; ok is false if name or value are not valid in one.
func appendField(b []byte, name, value string) (_ []byte, ok bool) {
	for i := range len(name) {
		if !fields.IsToken(name[i]) {
			return b, false
		}
	}
	if name == "" || strings.IndexByte(value, '\r') >= 0 || strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, 0) >= 0 {
		return b, false
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...), true
}

// appendTrailers appends the trailers that came after a body, as far as they are allowed.
func appendTrailers(b []byte, trailers http.Header) []byte {
	for name, values := range trailers {
		name, ok := canonicalName(name)
		if !ok || !fields.MayTrail(name) {
			continue
		}
		for _, value := range values {
			if isFieldValue(value) {
				b, _ = appendField(b, name, value)
			}
		}
	}
	return b
}

// isFraming says whether a field is written from the parsed request, not as it came.
func isFraming(name string) bool {
	switch name {
	case "Host", "Content-Length", "Expect":
		return true
	}
	return false
}

// isMethod says whether a method may be forwarded. CONNECT is for forward proxies.
func isMethod(m string) bool {
	switch m {
	case http.MethodGet, http.MethodPost:
		return true
	case http.MethodConnect, "":
		return false
	}
	for i := range len(m) {
		if !fields.IsToken(m[i]) {
			return false
		}
	}
	return true
}

// isVisible says whether s may be a request's target or host: no spaces, no control
// characters.
func isVisible(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// hasToken says whether a list of tokens has that one.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(textproto.TrimString(t), token) {
				return true
			}
		}
	}
	return false
}
