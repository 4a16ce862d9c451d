package upstream

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/wadi-run/wadi/proxy/fields"
)

// maxChunkLine bounds the line before a chunk.
const maxChunkLine = 1 << 10

// passChunks passes a chunked body on, and its trailers.
func (a *http1Answer) passChunks() error {
	for passed := int64(0); ; {
		line, err := a.chunkLine()
		if err != nil {
			return err
		}
		n, err := parseChunkSize(line)
		if err != nil {
			return err
		}
		if n == 0 {
			return a.passTrailers()
		}
		if passed += n; passed > smallBuffer {
			a.conn.widen()
		}
		for left := n; left > 0; {
			if len(a.conn.buffered()) == 0 {
				if err := a.more(); err != nil {
					return unexpected(err)
				}
			}
			m, err := a.pass(left)
			if err != nil {
				return err
			}
			left -= m
		}
		if line, err = a.chunkLine(); err != nil {
			return err
		} else if len(line) > 0 {
			return malformed("a chunk that is longer than it says")
		}
	}
}

// chunkLine takes a line, without its end. It is valid until more is read.
func (a *http1Answer) chunkLine() ([]byte, error) {
	for {
		b := a.conn.buffered()
		i := bytes.IndexByte(b, '\n')
		switch {
		case i == 0 || i > 0 && b[i-1] != '\r' || i >= maxChunkLine || i < 0 && len(b) >= maxChunkLine:
			return nil, malformed("the line of a chunk")
		case i > 0:
			a.conn.take(i + 1)
			return b[:i-1], nil
		}
		if err := a.more(); err != nil {
			return nil, unexpected(err)
		}
	}
}

// parseChunkSize reads the size of a chunk, and refuses what other readers could take for
// another number. Extensions are dropped.
func parseChunkSize(line []byte) (int64, error) {
	digits, ext, _ := bytes.Cut(line, []byte{';'})
	if !isFieldValue(string(ext)) {
		return 0, malformed("chunk extension")
	}
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 {
		return 0, malformed("chunk size")
	}
	for _, c := range digits {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return 0, malformed("chunk size")
		}
	}
	return strconv.ParseInt(string(digits), 16, 64)
}

// passTrailers passes on the trailers after the last chunk.
func (a *http1Answer) passTrailers() error {
	c := a.conn
	for len(c.buffered()) < 2 {
		if err := a.more(); err != nil {
			return unexpected(err)
		}
	}
	if b := c.buffered(); b[0] == '\r' && b[1] == '\n' {
		c.take(2)
		return nil
	}
	looked := 0
	for {
		end, next := headEnd(c.buffered(), looked)
		if end > 0 {
			lines := string(c.buf[c.r : c.r+end])
			c.take(end)
			return a.setTrailers(lines)
		}
		looked = next
		if err := a.more(); err != nil {
			return unexpected(err)
		}
	}
}

// setTrailers hands trailers to the server, which sends them after the body.
func (a *http1Answer) setTrailers(lines string) error {
	var t answerHead
	t.reset()
	for {
		line, rest, err := cutLine(lines)
		if err == nil && line != "" {
			err = t.parseField(line)
		}
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		lines = rest
	}
	trailers := http.Header{}
	unannounced := false
	for _, f := range t.fields {
		if !fields.MayTrail(f.name) {
			continue
		}
		if name := f.name; slices.Contains(a.conn.head.trailer, name) {
			trailers[name] = append(trailers[name], f.value)
		} else {
			name = http.TrailerPrefix + name
			trailers[name] = append(trailers[name], f.value)
			unannounced = true
		}
	}
	if unannounced {
		// Before the header is sent the server could still give the body a Content-Length, and
		// such a body has no trailers.
		_ = http.NewResponseController(a.w).Flush() // What fails here fails again at the end.
	}
	maps.Copy(a.w.Header(), trailers)
	return nil
}
