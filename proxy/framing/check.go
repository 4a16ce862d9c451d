package framing

import "bytes"

// state is the position of a connection in a request.
type state uint8

const (
	inRequestLine state = iota // The beginning: a connection's first state.
	inHeader
	inBody // left bytes of it are to come.
	inChunkSize
	inChunkExtension
	inChunkSizeEnd // LF is to come.
	inChunk        // left bytes of it are to come.
	inChunkEnd     // CR is to come.
	inChunkEndLF
	inTrailer
	inPreface // Of HTTP/2, whose first line has come.
	paused    // After a request that asks for another protocol.
	unchecked // Everything passes.
)

// seen is a set of what a head has shown so far.
type seen uint8

const (
	hasHost seen = 1 << iota
	hasLength
	hasCoding
	hasUpgrade
	isOld // HTTP/1.0.
)

// checker follows the requests of one connection. It gets every byte once, in order, in
// pieces of any size, and keeps nothing but the beginning of an unfinished line.
type checker struct {
	http2 bool         // The first request may be HTTP/2's preface.
	lines *lineBuffers // The source of line.

	state       state
	seen        seen
	hasPrevious bool // This is not the first request.
	digits      uint8
	left        int64
	line        *lineBuffer // The beginning of a line whose end has not come; nil: there is none.
	authority   []byte      // The host of an absolute request target.
}

// check follows b up to a byte that may not pass, or to the end of the requests. It
// returns how many bytes may pass, and the reason if one may not.
func (c *checker) check(b []byte) (n int, why Reason) {
	for n < len(b) {
		rest := b[n:]
		switch c.state {
		case inRequestLine, inHeader, inTrailer:
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				return len(b), c.keepPartial(rest)
			}
			if why = c.takeLine(rest[:i+1]); why != None {
				return n + i, why
			}
			n += i + 1
		case inBody, inChunk:
			n += c.skip(len(rest))
		case inPreface, paused:
			return n, None
		case unchecked:
			return len(b), None
		default:
			if why = c.takeChunkByte(rest[0]); why != None {
				return n, why
			}
			n++
		}
	}
	return n, None
}

// midHead reports whether some of a request's head has come, but not all. HTTP/2's
// preface counts as a head.
func (c *checker) midHead() bool {
	return c.state == inHeader || c.state == inPreface || c.state == inRequestLine && c.line != nil
}

// skip lets up to n bytes of a body or chunk pass, and returns how many.
func (c *checker) skip(n int) int {
	n = int(min(int64(n), c.left))
	if c.left -= int64(n); c.left == 0 {
		if c.state == inBody {
			c.end()
		} else {
			c.state = inChunkEnd
		}
	}
	return n
}

// end ends a request.
func (c *checker) end() {
	c.state = inRequestLine
	if c.seen&hasUpgrade != 0 {
		c.state = paused
	}
	c.seen, c.hasPrevious, c.authority = 0, true, nil
}

// takeLine checks a line with its end, whose beginning may have been kept.
func (c *checker) takeLine(line []byte) Reason {
	if c.line != nil {
		if !c.line.add(line) {
			return TooLong
		}
		line = c.line.b
		defer c.drop()
	}
	n := len(line) - 2
	why := LineEnd
	if n >= 0 && line[n] == '\r' {
		why = c.takeContent(line[:n])
	}
	if why != None && c.state == inTrailer {
		return Trailer
	}
	// No line may have a CR within: that is the better reason.
	if why != None && bytes.IndexByte(line[:max(n, 0)], '\r') >= 0 {
		return LineEnd
	}
	return why
}

// takeContent checks a line without its end.
func (c *checker) takeContent(line []byte) Reason {
	switch {
	case c.state == inRequestLine:
		return c.takeRequestLine(line)
	case len(line) > 0 && c.state == inHeader:
		return c.takeHeader(line)
	case len(line) > 0:
		return takeTrailer(line)
	case c.state == inHeader:
		return c.endHead()
	}
	c.end()
	return None
}

// keepPartial keeps the beginning of a line.
func (c *checker) keepPartial(part []byte) Reason {
	if c.line == nil {
		c.line = c.lines.get()
	}
	if !c.line.add(part) {
		return TooLong
	}
	return None
}

// drop gives back the kept line.
func (c *checker) drop() {
	if c.line != nil {
		c.lines.put(c.line)
		c.line = nil
	}
}

// The preface of HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const (
	prefaceLine = "PRI * HTTP/2.0"
	prefaceRest = "\r\nSM\r\n\r\n"
)
