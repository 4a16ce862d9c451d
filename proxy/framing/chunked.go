package framing

import "github.com/wadi-run/wadi/proxy/fields"

// maxChunkDigits bounds the size of a chunk below 2^60 bytes.
const maxChunkDigits = 15

// takeChunkByte checks the next byte around the chunks (RFC 9112, section 7.1), where
// every reader wants lines to end with CR LF.
func (c *checker) takeChunkByte(b byte) Reason {
	switch c.state {
	case inChunkSize:
		switch d := hexDigit(b); {
		case d >= 0 && c.digits < maxChunkDigits:
			c.left, c.digits = c.left<<4|int64(d), c.digits+1
			return None
		case c.digits == 0:
		case b == ';':
			c.state = inChunkExtension
			return None
		case b == '\r':
			c.state = inChunkSizeEnd
			return None
		}
		return Chunk
	case inChunkExtension: // Its content is ignored; only its end matters.
		if b == '\r' {
			c.state = inChunkSizeEnd
		} else if b < ' ' && b != '\t' || b == 0x7f {
			return Chunk
		}
		return None
	case inChunkSizeEnd:
		c.digits = 0
		c.state = inChunk
		if c.left == 0 {
			c.state = inTrailer
		}
	case inChunkEnd:
		if b != '\r' {
			return Chunk
		}
		c.state = inChunkEndLF
		return None
	case inChunkEndLF:
		c.state = inChunkSize
	}
	if b != '\n' {
		return Chunk
	}
	return None
}

func hexDigit(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

// takeTrailer checks a trailer's line. Fields about framing, routing or identity come too
// late to be honoured, and are refused.
func takeTrailer(line []byte) Reason {
	n, why := nameOf(line)
	if why != None || !fields.MayTrail(string(line[:n])) {
		return Trailer
	}
	return None
}
