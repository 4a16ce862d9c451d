package intentions

import (
	"strings"
	"unicode/utf8"
)

// pathForms is the number of readings of a path: with escaped slashes decoded or not, dot
// segments resolved or not, slashes merged or not.
const pathForms = 8

// pathForm is the n-th reading of a path. It is not ok if Envoy would refuse the path as
// invalid.
func pathForm(path string, n int) (_ string, ok bool) {
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "#") {
		return "", false
	}
	if n&1 != 0 {
		path = slashes.Replace(path)
	}
	if n&2 != 0 {
		if path, ok = normalize(path); !ok {
			return "", false
		}
	}
	if n&4 != 0 {
		path = mergeSlashes(path)
	}
	return path, true
}

// slashes decodes escaped slashes and backslashes.
var slashes = strings.NewReplacer("%2F", "/", "%2f", "/", "%5C", `\`, "%5c", `\`)

// plain reports whether a path has only one reading.
func plain(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := 1; i < len(path); i++ {
		c := path[i]
		if (c == '/' || c == '.') && path[i-1] == '/' || !kept(c) {
			return false
		}
	}
	return true
}

// unreserved characters mean the same when they are escaped (RFC 3986, 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// kept characters stay unchanged in a path, except for dot segments.
func kept(c byte) bool {
	return unreserved(c) || strings.IndexByte("/!$&'()*+,;=:@[]", c) >= 0
}

// normalize does what Envoy does when it normalizes paths: it decodes what need not be
// escaped, encodes what must be, replaces backslashes by slashes and resolves dot
// segments, escaped ones too. It keeps repeated slashes. It is not ok for a text that
// neither Envoy nor Go accepts as a path.
func normalize(path string) (_ string, ok bool) {
	if !utf8.ValidString(path) {
		return "", false
	}
	out := make([]byte, 0, len(path)+1)
	for i := 0; i < len(path); {
		if n := dot(path, i); n > 0 && len(out) > 0 && out[len(out)-1] == '/' {
			used, up, isDir := directory(path, i+n)
			switch {
			case !isDir:
				out = append(out, '.')
			case up:
				out = parent(out)
			}
			i += n + used
			continue
		}
		c := path[i]
		switch {
		case c == '\\':
			out = append(out, '/')
		case c == '%':
			d, valid := unescape(path, i)
			switch {
			case !valid || d == 0:
				return "", false
			case unreserved(d):
				out = append(out, d)
			default:
				out = append(out, path[i:i+3]...)
			}
			i += 2
		case c < ' ' || c == 0x7f:
			return "", false
		case kept(c):
			out = append(out, c)
		default:
			const hex = "0123456789ABCDEF"
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
		i++
	}
	return string(out), true
}

// dot returns the length of a dot at i, escaped or not; 0 if there is none.
func dot(path string, i int) int {
	if i < len(path) && path[i] == '.' {
		return 1
	}
	if d, ok := unescape(path, i); ok && d == '.' {
		return 3
	}
	return 0
}

// directory reports whether a dot that ends before i, at the beginning of a segment,
// stands for a directory, with the length of the rest of the segment.
func directory(path string, i int) (used int, up, isDir bool) {
	if n, end := slash(path, i); end {
		return n, false, true
	}
	if d := dot(path, i); d > 0 {
		if n, end := slash(path, i+d); end {
			return d + n, true, true
		}
	}
	return 0, false, false
}

// slash reports whether a segment ends at i, with the length of the slash there.
func slash(path string, i int) (n int, end bool) {
	if i >= len(path) {
		return 0, true
	}
	if path[i] == '/' || path[i] == '\\' {
		return 1, true
	}
	return 0, false
}

// parent removes the last segment of a path that ends in a slash.
func parent(out []byte) []byte {
	for i := len(out) - 2; i >= 0; i-- {
		if out[i] == '/' {
			return out[:i+1]
		}
	}
	return out[:1]
}

// unescape decodes a percent-encoded byte at i.
func unescape(path string, i int) (c byte, ok bool) {
	if i+2 >= len(path) || path[i] != '%' {
		return 0, false
	}
	for _, x := range []byte{path[i+1], path[i+2]} {
		switch {
		case '0' <= x && x <= '9':
			c = c<<4 | (x - '0')
		case 'a' <= x && x <= 'f', 'A' <= x && x <= 'F':
			c = c<<4 | (x&^0x20 - 'A' + 10)
		default:
			return 0, false
		}
	}
	return c, true
}

func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] != '/' || len(out) == 0 || out[len(out)-1] != '/' {
			out = append(out, path[i])
		}
	}
	return string(out)
}
