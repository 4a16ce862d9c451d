package framing

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"strings"

	"github.com/wadi-run/wadi/proxy/fields"
)

// takeRequestLine checks a request line (RFC 9112, section 3).
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

// takeTarget accepts a path, an absolute address, or the asterisk of OPTIONS. It refuses
// parts that servers cut off or understand differently: a fragment, a user.
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
	c.authority = bytes.Clone(rest) // Rare: most clients send it to forward proxies only.
	return None
}

// takeHeader checks a header line (RFC 9112, section 5, and section 6 for the headers
// that decide where a request ends).
func (c *checker) takeHeader(line []byte) Reason {
	n, why := nameOf(line)
	if why != None {
		return why
	}
	name := line[:n]
	switch n { // Few headers have these lengths.
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

// takeLength accepts one decimal number. RFC 9112, section 6.3, allows a list that
// repeats the number, which only attackers send.
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

// endHead handles the empty line: a body or the next request follows.
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

// trim removes the white space around a value.
func trim(value []byte) []byte { return bytes.Trim(value, " \t") }

// equalName reports whether b is word, which is in lower case, in any case. A dash may be
// an underscore: servers that pass headers as variables don't distinguish the two.
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
// mostly values, so most time is spent here: it tests eight bytes at once.
func hasControl(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ ones*0x7f
		// The top bit is set of each byte below a space, and of each DEL.
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

// CheckHTTP2 checks a request that the server has read from HTTP/2, as a proxy may send
// it on as HTTP/1.1. It refuses a request line that HTTP/1.1 can't have, a second host,
// and names that mean a length or coding to servers that pass headers as variables.
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

// checkHTTP2Field checks one field of r's header. The server has checked its syntax, and
// the value of Content-Length.
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
