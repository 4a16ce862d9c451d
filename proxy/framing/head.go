package framing

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"strings"

	"github.com/wadi-run/wadi/proxy/fields"
)

// takeRequestLine is about RFC 9112, section 3.
func (c *checker) takeRequestLine(line []byte) Reason {
	if c.http2 && !c.hasPrevious && string(line) == prefaceLine {
		c.state = inPreface
		return None
	}
	i := bytes.IndexByte(line, ' ')
	j := bytes.LastIndexByte(line, ' ')
	if i <= 0 || j == i || bytes.IndexByte(line[i+1:j], ' ') >= 0 {
		return RequestLine
	}
	method, target := line[:i], line[i+1:j]
	switch string(line[j+1:]) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		c.seen |= isOld
	default:
		return Version
	}
	for _, b := range method {
		if !fields.IsToken(b) {
			return RequestLine
		}
	}
	if string(method) == "CONNECT" {
		return Method
	}
	c.state = inHeader
	return c.takeTarget(target, method)
}

// takeTarget takes a path, an absolute address, or the asterisk of OPTIONS. What
// others would cut off or understand as they like is refused: a fragment, a user.
func (c *checker) takeTarget(target, method []byte) Reason {
	if len(target) == 0 || bytes.IndexByte(target, '#') >= 0 {
		return Target
	}
	if hasControl(target) || bytes.IndexByte(target, '\t') >= 0 {
		return Target
	}
	if target[0] == '/' {
		return None
	}
	if string(target) == "*" {
		if string(method) == "OPTIONS" {
			return None
		}
		return Target
	}
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !equalName(scheme, "http") && !equalName(scheme, "https") {
		return Target
	}
	if i := bytes.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	if len(rest) == 0 || bytes.IndexByte(rest, '@') >= 0 {
		return Target
	}
	c.authority = bytes.Clone(rest) // Proxies alone are asked so, by most clients.
	return None
}

// takeHeader is about RFC 9112, section 5, and section 6 for those headers that say
// where a request ends.
func (c *checker) takeHeader(line []byte) Reason {
	n, why := nameOf(line)
	if why != None {
		return why
	}
	name := line[:n]
	switch n { // Few of a request's headers have these lengths.
	case len("host"):
		if equalName(name, "host") {
			return c.takeHost(line[n+1:])
		}
	case len("upgrade"):
		if equalName(name, "upgrade") {
			c.seen |= hasUpgrade
		}
	case len("content-length"):
		if equalName(name, "content-length") {
			return c.takeLength(name, line[n+1:])
		}
	case len("transfer-encoding"):
		if equalName(name, "transfer-encoding") {
			return c.takeCoding(name, line[n+1:])
		}
	}
	return None
}

// nameOf returns the length of a header line's name.
func nameOf(line []byte) (int, Reason) {
	if line[0] == ' ' || line[0] == '\t' {
		return 0, Fold
	}
	n := 0
	for n < len(line) && fields.IsToken(line[n]) {
		n++
	}
	if n == 0 || n == len(line) || line[n] != ':' {
		return 0, HeaderName
	}
	if hasControl(line[n+1:]) {
		return 0, HeaderLine
	}
	return n, None
}

func (c *checker) takeHost(value []byte) Reason {
	if c.seen&hasHost != 0 || c.authority != nil && !bytes.EqualFold(trim(value), c.authority) {
		return Host
	}
	c.seen |= hasHost
	return None
}

// takeLength takes a decimal number. RFC 9112, section 6.3, lets a list of the same
// number pass for one; nobody who means well sends it.
func (c *checker) takeLength(name, value []byte) Reason {
	value = trim(value)
	if c.seen&hasLength != 0 || hasUnderscore(name) || len(value) == 0 {
		return Length
	}
	var n int64
	for _, b := range value {
		d := int64(b) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return Length
		}
		n = n*10 + d
	}
	c.seen |= hasLength
	c.left = n
	return None
}

func (c *checker) takeCoding(name, value []byte) Reason {
	if c.seen&(hasCoding|isOld) != 0 || hasUnderscore(name) || !equalName(trim(value), "chunked") {
		return Coding
	}
	c.seen |= hasCoding
	return None
}

// endHead is the empty line: what follows is a body, or the next request.
func (c *checker) endHead() Reason {
	switch {
	case c.seen&(hasHost|isOld) == 0:
		return Host
	case c.seen&hasLength != 0 && c.seen&hasCoding != 0:
		return LengthAndCoding
	case c.seen&hasCoding != 0:
		c.state, c.digits, c.left = inChunkSize, 0, 0
	case c.seen&hasLength != 0 && c.left > 0:
		c.state = inBody
	default:
		c.end()
	}
	return None
}

// trim cuts off the white space that may surround a value.
func trim(value []byte) []byte { return bytes.Trim(value, " \t") }

// equalName reports whether b is the lower case word, whatever its case. A dash may be
// an underscore: servers that hand headers on as variables don't tell them apart.
func equalName[T []byte | string](b T, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range len(b) {
		x := b[i]
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		if x == '_' {
			x = '-'
		}
		if x != word[i] {
			return false
		}
	}
	return true
}

// hasUnderscore reports whether a name has an underscore for a dash.
func hasUnderscore(name []byte) bool { return bytes.IndexByte(name, '_') >= 0 }

// hasControl reports whether b has a control character other than a tab. Headers are
// mostly values, so this is where the time goes: eight bytes at once.
func hasControl(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ ones*0x7f
		// A top bit is set of each byte below a space, and of each that is DEL.
		if ((x-ones*' ')&^x|(del-ones)&^del)&tops != 0 && hasControlByte(b[:8]) {
			return true
		}
		b = b[8:]
	}
	return hasControlByte(b)
}

func hasControlByte(b []byte) bool {
	for _, x := range b {
		if x < ' ' && x != '\t' || x == 0x7f {
			return true
		}
	}
	return false
}

// CheckHTTP2 is what the check says of a request of HTTP/2, which has been read by
// others: in it there is as little room for a request line that HTTP/1.1 can't have, for
// a second host, and for names that stand for a length or coding to whoever gets headers
// as variables. It is read as HTTP/1.1 was before: whoever passes a request on may write
// it so.
func CheckHTTP2(r *http.Request) Reason {
	if why := checkHTTP2Line(r.Method, r.RequestURI); why != None {
		return why
	}
	for name, values := range r.Header {
		if why := checkHTTP2Field(r, name, values); why != None {
			return why
		}
	}
	return None
}

func checkHTTP2Line(method, target string) Reason {
	if method == "" {
		return RequestLine
	}
	for i := range len(method) {
		if !fields.IsToken(method[i]) {
			return RequestLine
		}
	}
	switch {
	case method == "CONNECT":
		return Method
	case target == "*" && method == "OPTIONS":
		return None
	case !strings.HasPrefix(target, "/"), strings.ContainsAny(target, "# \t"), hasControlByte([]byte(target)):
		return Target
	}
	return None
}

// checkHTTP2Field is about one field of r's header. That it is a field, and what
// Content-Length says, the server has seen to.
func checkHTTP2Field(r *http.Request, name string, values []string) Reason {
	switch {
	case equalName(name, "host") && !(len(values) == 1 && strings.EqualFold(values[0], r.Host)):
		return Host
	case equalName(name, "content-length") && (len(values) > 1 || strings.IndexByte(name, '_') >= 0):
		return Length
	case equalName(name, "transfer-encoding"):
		return Coding
	}
	return None
}
