package accesslog

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// maxText bounds the bytes of a caller's text. A longer text ends in an ellipsis.
const maxText = 4 << 10

// Entry is one request that has ended. Its line leaves out fields that are zero, but for
// those marked as always.
type Entry struct {
	Time     time.Time // Arrival; always, as is Duration.
	Method   string    // Always.
	Host     string    // Always.
	Path     string    // Always; without the query.
	Protocol string    // HTTP/1.1 or HTTP/2.0; always.
	Status   int       // Always; 0: the caller went, or was cut off, before an answer.
	BytesIn  int64     // Of the body that was read; always.
	BytesOut int64     // Of the answer's body; always.
	Duration time.Duration
	Wait     time.Duration // Time of the wait for an instance, or for the app; always.

	Kind     string // "" for a request to the app, or for instance "probe".
	Service  string
	Revision string
	Instance string
	Retries  int
	Code     string // Why Wadi answered itself, as in Wadi-Error.
	Caller   string // The service in the caller's mesh certificate.
	Peer     string // host:port of the connection's peer.
	Trace    string // ID of the trace.
	Cold     []Phase
}

// Phase is a part of a cold request's wait.
type Phase struct {
	Name string
	Took time.Duration
}

// append adds the entry's line, with its end.
func (e *Entry) append(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, '"')
	b = text(b, "method", e.Method)
	b = text(b, "host", e.Host)
	b = text(b, "path", e.Path)
	b = text(b, "protocol", e.Protocol)
	b = number(b, "status", int64(e.Status))
	b = number(b, "bytes_in", e.BytesIn)
	b = number(b, "bytes_out", e.BytesOut)
	b = seconds(b, "duration_seconds", e.Duration)
	b = seconds(b, "wait_seconds", e.Wait)
	for _, f := range [...]struct{ name, value string }{
		{"kind", e.Kind}, {"service", e.Service}, {"revision", e.Revision}, {"instance", e.Instance},
		{"error", e.Code}, {"caller", e.Caller}, {"peer", e.Peer}, {"trace_id", e.Trace},
	} {
		if f.value != "" {
			b = text(b, f.name, f.value)
		}
	}
	if e.Retries != 0 {
		b = number(b, "retries", int64(e.Retries))
	}
	if len(e.Cold) > 0 {
		b = append(b, `,"cold":{"`...)
		for i, p := range e.Cold {
			if i > 0 {
				b = append(b, `,"`...)
			}
			b = append(b, p.Name...)
			b = append(b, `_seconds":`...)
			b = strconv.AppendFloat(b, p.Took.Seconds(), 'f', 6, 64)
		}
		b = append(b, '}')
	}
	return append(b, "}\n"...)
}

func key(b []byte, name string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":`...)
}

func number(b []byte, name string, n int64) []byte { return strconv.AppendInt(key(b, name), n, 10) }

func seconds(b []byte, name string, d time.Duration) []byte {
	return strconv.AppendFloat(key(b, name), d.Seconds(), 'f', 6, 64)
}

func text(b []byte, name, s string) []byte {
	b = append(key(b, name), '"')
	if len(s) > maxText {
		b = append(quoted(b, s[:maxText]), "…"...)
	} else {
		b = quoted(b, s)
	}
	return append(b, '"')
}

// quoted appends s as the inside of a JSON string. Besides what JSON requires it escapes
// what terminals and log viewers don't print: the C1 controls, the separators of lines and
// paragraphs, and marks of text direction. Invalid UTF-8 becomes U+FFFD.
func quoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < ' ' || c == 0x7f:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			default:
				b = append(b, c)
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case r < 0xa0, 0x2028 <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0xfeff:
			b = append(b, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}
