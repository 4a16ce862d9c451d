package framing_test

import (
	"bytes"
	"math"
	"math/big"
	"regexp"
	"strings"

	"github.com/wadi-run/wadi/proxy/fields"
)

// The grammar of RFC 9112, once more: slowly, and from the RFC alone.
var (
	requestLineRE = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\\x00-\\x20\\x7f#]+) HTTP/1\\.([01])\r\n$")
	absoluteRE    = regexp.MustCompile("^(?i:https?)://([^/?@]+)([/?].*)?$")
	fieldRE       = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[^\\x00-\\x08\\x0a-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?)[ \t]*\r\n$")
	chunkRE       = regexp.MustCompile("^([0-9A-Fa-f]{1,15})(?:;[^\\x00-\\x08\\x0a-\\x1f\\x7f]*)?\r\n$")
	chunkPartRE   = regexp.MustCompile("^(?:[0-9A-Fa-f]{0,15}|[0-9A-Fa-f]{1,15}(?:;[^\\x00-\\x08\\x0a-\\x1f\\x7f]*)?\r?)$")
)

type verdict int

const (
	complete verdict = iota
	incomplete
	malformed
)

// strict reads requests until something is wrong or missing.
func strict(in []byte) (all []request, v verdict) {
	for len(in) > 0 {
		r, rest, v := strictRequest(latin(in))
		if v != complete {
			return all, v
		}
		all = append(all, r)
		in = unlatin(rest)
	}
	return all, complete
}

// latin makes one rune of each byte, because regexps read UTF-8.
func latin(b []byte) string {
	var s strings.Builder
	for _, x := range b {
		s.WriteRune(rune(x))
	}
	return s.String()
}

func unlatin(s string) []byte {
	var b bytes.Buffer
	for _, r := range s {
		b.WriteByte(byte(r))
	}
	return b.Bytes()
}

func cutLine(in string) (line, rest string, ok bool) {
	i := strings.IndexByte(in, '\n') + 1
	return in[:i], in[i:], i > 0
}

func strictRequest(in string) (r request, rest string, v verdict) {
	line, rest, ok := cutLine(in)
	if !ok {
		return r, "", incomplete
	}
	m := requestLineRE.FindStringSubmatch(line)
	if m == nil || m[1] == "CONNECT" {
		return r, "", malformed
	}
	r.Method, r.Target, r.Whole = m[1], string(unlatin(m[2])), true
	authority := ""
	if a := absoluteRE.FindStringSubmatch(m[2]); a != nil {
		authority = a[1]
	} else if !strings.HasPrefix(m[2], "/") && (m[2] != "*" || m[1] != "OPTIONS") {
		return r, "", malformed
	}
	headers := map[string][]string{}
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return r, "", incomplete
		}
		if line == "\r\n" {
			break
		}
		f := fieldRE.FindStringSubmatch(line)
		if f == nil {
			return r, "", malformed
		}
		name := asciiLower(strings.ReplaceAll(f[1], "_", "-"))
		headers[name] = append(headers[name], f[2])
		if strings.Contains(f[1], "_") && (name == "content-length" || name == "transfer-encoding") {
			return r, "", malformed
		}
		if !strictHeaders(headers, authority, m[3] == "0") {
			return r, "", malformed
		}
	}
	length, coding := headers["content-length"], headers["transfer-encoding"]
	switch {
	case len(headers["host"]) == 0 && m[3] == "1", length != nil && coding != nil:
		return r, "", malformed
	case length != nil:
		n, _ := new(big.Int).SetString(length[0], 10)
		if n.Cmp(big.NewInt(int64(len([]rune(rest))))) > 0 {
			return r, "", incomplete
		}
		runes := []rune(rest)
		r.Body, rest = string(unlatin(string(runes[:n.Int64()]))), string(runes[n.Int64():])
		return r, rest, complete
	case coding != nil:
		return strictChunks(r, rest)
	}
	return r, rest, complete
}

// strictHeaders checks the header lines so far.
func strictHeaders(h map[string][]string, authority string, old bool) bool {
	for _, name := range []string{"host", "content-length", "transfer-encoding"} {
		if len(h[name]) > 1 {
			return false
		}
	}
	if host := h["host"]; host != nil && authority != "" && !bytes.EqualFold(unlatin(host[0]), unlatin(authority)) {
		return false
	}
	if l := h["content-length"]; l != nil {
		if !regexp.MustCompile("^[0-9]+$").MatchString(l[0]) {
			return false
		}
		if n, _ := new(big.Int).SetString(l[0], 10); n.Cmp(big.NewInt(math.MaxInt64)) > 0 {
			return false
		}
	}
	c := h["transfer-encoding"]
	return c == nil || asciiLower(c[0]) == "chunked" && !old
}

func strictChunks(r request, in string) (_ request, rest string, v verdict) {
	for {
		line, rest, ok := cutLine(in)
		if !ok {
			if chunkPartRE.MatchString(in) {
				return r, "", incomplete
			}
			return r, "", malformed
		}
		m := chunkRE.FindStringSubmatch(line)
		if m == nil {
			return r, "", malformed
		}
		n, _ := new(big.Int).SetString(m[1], 16)
		if n.Sign() == 0 {
			return strictTrailers(r, rest)
		}
		runes := []rune(rest)
		if n.Cmp(big.NewInt(int64(len(runes)))) >= 0 {
			return r, "", incomplete
		}
		size := int(n.Int64())
		r.Body += string(unlatin(string(runes[:size])))
		end := string(runes[size:])
		switch {
		case end == "\r":
			return r, "", incomplete
		case !strings.HasPrefix(end, "\r\n"):
			return r, "", malformed
		}
		in = end[2:]
	}
}

func strictTrailers(r request, in string) (_ request, rest string, v verdict) {
	for {
		line, rest, ok := cutLine(in)
		if !ok {
			return r, "", incomplete
		}
		if line == "\r\n" {
			return r, rest, complete
		}
		f := fieldRE.FindStringSubmatch(line)
		if f == nil || !fields.MayTrail(f[1]) {
			return r, "", malformed
		}
		in = rest
	}
}

// asciiLower changes ASCII only: strings.ToLower would fold a Kelvin sign.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
