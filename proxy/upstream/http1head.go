package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/wadi-run/wadi/proxy/fields"
)

// errMalformed: an answer is not HTTP/1 by RFC 9112, or could be read in two ways. Nothing of
// it is passed on.
var errMalformed = errors.New("malformed answer")

func malformed(what string) error { return fmt.Errorf("%w: %s", errMalformed, what) }

// field is one line of a header, its name in canonical form.
type field struct{ name, value string }

// answerHead is the head of an answer. Its fields are those that are passed on: no hop-by-hop
// field is among them.
type answerHead struct {
	status  int
	minor   int // Of the version: HTTP/1.x.
	fields  []field
	length  int64 // What Content-Length says; -1 if nothing.
	chunked bool
	last    bool     // The peer closes the connection after it.
	upgrade string   // The protocol that the connection changes to.
	trailer []string // The fields announced to follow the body.

	keepAlive bool     // Connection says keep-alive.
	dropped   []string // The fields that Connection names.
	typed     bool     // It has a Content-Type.
}

// reset prepares h for another answer, and keeps its memory.
func (h *answerHead) reset() {
	clear(h.fields)
	*h = answerHead{fields: h.fields[:0], length: -1}
}

// parse reads a head, up to and including its empty line. It is strict: what could be read in
// two ways is an error, as are folded lines.
func (h *answerHead) parse(head string) error {
	h.reset()
	line, rest, err := cutLine(head)
	if err == nil {
		err = h.parseStatus(line)
	}
	for err == nil {
		if line, rest, err = cutLine(rest); err != nil || line == "" {
			break
		}
		err = h.parseField(line)
	}
	if err != nil {
		return err
	}
	if h.chunked && (h.length >= 0 || h.minor == 0) {
		return malformed("Transfer-Encoding with Content-Length, or in HTTP/1.0")
	}
	if h.status < 200 && h.promisesBody() {
		return malformed("an informational answer with a body")
	}
	if h.minor == 0 && !h.keepAlive {
		h.last = true
	}
	for _, name := range h.dropped {
		h.drop(name)
	}
	return nil
}

// cutLine returns the first line of s without its end, and what follows.
func cutLine(s string) (line, rest string, err error) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return "", "", malformed("a line without end")
	}
	line, rest = s[:i], s[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest, nil
}

// parseStatus reads "HTTP/1.1 200 OK". The reason may be missing.
func (h *answerHead) parseStatus(line string) error {
	if len(line) < len("HTTP/1.1 200") || line[:7] != "HTTP/1." || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return malformed("status line")
	}
	switch line[7] {
	case '0', '1':
		h.minor = int(line[7] - '0')
	default:
		return malformed("version")
	}
	for _, c := range []byte(line[9:12]) {
		if c < '0' || c > '9' {
			return malformed("status")
		}
		h.status = 10*h.status + int(c-'0')
	}
	if h.status < 100 || !isFieldValue(line[12:]) {
		return malformed("status line")
	}
	return nil
}

// parseField reads "Name: value".
func (h *answerHead) parseField(line string) error {
	colon := strings.IndexByte(line, ':')
	if colon <= 0 {
		return malformed("header line")
	}
	name, ok := canonicalName(line[:colon])
	value := strings.Trim(line[colon+1:], " \t") // A CR is refused by isFieldValue.
	if !ok || !isFieldValue(value) {
		return malformed("header line")
	}
	switch name {
	case "Content-Length":
		n, ok := parseLength(value)
		if !ok || h.length >= 0 && h.length != n {
			return malformed("Content-Length")
		}
		if h.length >= 0 {
			return nil // A repetition of the same length.
		}
		h.length = n
	case "Transfer-Encoding":
		if h.chunked || !strings.EqualFold(value, "chunked") {
			return malformed("Transfer-Encoding")
		}
		h.chunked = true
		return nil
	case "Connection":
		h.options(value)
		return nil
	case "Upgrade":
		h.upgrade = value
		return nil
	case "Trailer":
		h.trailer = appendTrailerNames(h.trailer, value)
		return nil
	case "Content-Type":
		h.typed = true
	default:
		if isHopByHop(name) {
			return nil
		}
	}
	h.fields = append(h.fields, field{name, value})
	return nil
}

// options reads a Connection header.
func (h *answerHead) options(value string) {
	for option := range strings.SplitSeq(value, ",") {
		switch option = textproto.TrimString(option); {
		case strings.EqualFold(option, "close"):
			h.last = true
		case strings.EqualFold(option, "keep-alive"):
			h.keepAlive = true
		case option == "" || strings.EqualFold(option, "upgrade"):
		default:
			h.dropped = append(h.dropped, http.CanonicalHeaderKey(option))
		}
	}
}

// drop removes the fields of that name, but not those that frame the body.
func (h *answerHead) drop(name string) {
	if name == "Content-Length" {
		return
	}
	kept := h.fields[:0]
	for _, f := range h.fields {
		if f.name != name {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}

// get is the first value of a field.
func (h *answerHead) get(name string) string {
	for _, f := range h.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// hasBody says whether a body follows in answer to a request of that method
// (RFC 9112, section 6.3). A 205 has none either (RFC 9110, section 15.3.6), and callers may
// rely on that.
func (h *answerHead) hasBody(method string) bool {
	return method != http.MethodHead && bodyAllowed(h.status)
}

// bodyAllowed says whether a final answer of that status may have a body.
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusResetContent && status != http.StatusNotModified
}

// promisesBody says whether the header announces a body that is not empty, allowed or not.
func (h *answerHead) promisesBody() bool { return h.chunked || h.length > 0 }

// appendTrailerNames appends the names that value, of a Trailer header, announces.
func appendTrailerNames(names []string, value string) []string {
	for name := range strings.SplitSeq(value, ",") {
		if name, ok := canonicalName(textproto.TrimString(name)); ok && fields.MayTrail(name) {
			names = append(names, name)
		}
	}
	return names
}

// isHopByHop says whether a field is dropped because it concerns one connection only.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

// parseLength reads a number that consists of digits only.
func parseLength(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}

// canonicalName is the form of a field's name that http.Header has; ok is false if s is not a
// field's name.
func canonicalName(s string) (name string, ok bool) {
	canonical, upper := true, true
	for i := range len(s) {
		c := s[i]
		if !fields.IsToken(c) {
			return "", false
		}
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			canonical = false
		}
		upper = c == '-'
	}
	if canonical {
		return s, s != ""
	}
	return textproto.CanonicalMIMEHeaderKey(s), true
}

// isFieldValue says whether s may be a field's value: no control characters but
// tabs.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
