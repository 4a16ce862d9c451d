package deadline

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy"
)

// GoAway shuts an upgraded request down, now or as soon as it is upgraded, because the
// process is about to end. The caller of a WebSocket gets a close frame with the code 1001,
// "going away", between two frames of the app, and nothing after it; its answer goes to the
// app, which closes. For other protocols only the app's reading ends: what the app still
// sends goes to the caller.
func (t *Tracker) GoAway() {
	t.mu.Lock()
	t.goingAway = true
	c := t.upgraded
	t.mu.Unlock()
	if c != nil {
		go c.GoAway()
	}
}

// Upgraded is the caller's connection after an upgrade.
type Upgraded struct {
	net.Conn
	touch func()      // Called when bytes have gone; never nil.
	ended atomic.Bool // Nothing more is read.
	ws    *webSocket  // Nil: another protocol.
}

// NewUpgraded returns c as the connection of r's caller after the upgrade. It calls touch,
// unless that is nil, when bytes have gone either way.
func NewUpgraded(c net.Conn, r *http.Request, touch func()) *Upgraded {
	proxy.NotifyUpgraded(c)
	u := &Upgraded{Conn: c, touch: touch}
	if u.touch == nil {
		u.touch = func() {}
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		u.ws = &webSocket{}
	}
	return u
}

func (c *Upgraded) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.touch()
	}
	if err != nil && c.ended.Load() {
		err = io.EOF
	}
	return n, err
}

func (c *Upgraded) Write(b []byte) (n int, err error) {
	if c.ws != nil {
		n, err = c.ws.write(c.Conn, b)
	} else {
		n, err = c.Conn.Write(b)
	}
	if n > 0 {
		c.touch()
	}
	return n, err
}

// CloseWrite ends what is sent to the caller; the caller may still send.
func (c *Upgraded) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// GoAway does what [Tracker.GoAway] says. It may block on a caller that does not read.
func (c *Upgraded) GoAway() {
	if c.ws != nil {
		c.ws.goAway(c.Conn)
		return
	}
	c.ended.Store(true)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // It fails on closed ones.
}

// webSocket follows the frames that an app sends (RFC 6455, section 5.2), to send a close
// frame between two of them.
type webSocket struct {
	mu         sync.Mutex
	goingAway  bool
	closed     bool // A close frame was sent,
	closedHere bool // by this: nothing may follow.
	begun      bool // The first byte is out.
	opened     bool // The answer's header is out.
	head       [14]byte
	have       int
	left       uint64 // Of the payload.
	line       int    // Bytes of the header's end that have just gone.
}

// closeGoingAway is a close frame with the code 1001.
const closeGoingAway = "\x88\x02\x03\xe9"

// closeOpcode is that of a close frame.
const closeOpcode = 8

func (s *webSocket) write(to io.Writer, b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := len(b)
	for s.goingAway && !s.closed && len(b) > 0 { // Up to the end of a frame.
		n := s.follow(b, true)
		if _, err := to.Write(b[:n]); err != nil {
			return all - len(b), err
		}
		b = b[n:]
		if err := s.sendClose(to); err != nil {
			return all - len(b), err
		}
	}
	if s.closedHere || len(b) == 0 {
		return all, nil // What may not follow a close frame.
	}
	n, err := to.Write(b)
	s.follow(b[:n], false)
	return all - len(b) + n, err
}

func (s *webSocket) goAway(to io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goingAway = true
	_ = s.sendClose(to) // If it fails the connection has ended.
}

// sendClose sends a close frame if it is time and no frame is half sent. The caller holds the
// mutex.
func (s *webSocket) sendClose(to io.Writer) error {
	if !s.goingAway || s.closed || !s.opened || s.have > 0 || s.left > 0 {
		return nil
	}
	s.closed, s.closedHere = true, true
	_, err := io.WriteString(to, closeGoingAway)
	return err
}

// follow follows b, which is sent; with one only up to the end of a frame. It returns how
// many bytes it followed.
func (s *webSocket) follow(b []byte, one bool) int {
	for i := 0; i < len(b); {
		switch {
		case !s.begun:
			s.begun, s.opened = true, b[i] != 'H' // No frame begins with it.
		case !s.opened:
			s.followHeader(b[i])
			i++
		case s.left > 0:
			n := min(s.left, uint64(len(b)-i))
			s.left -= n
			i += int(n)
		default:
			s.head[s.have] = b[i]
			s.have++
			i++
			if s.have == frameHead(s.head[:s.have]) {
				s.closed = s.closed || s.head[0]&0xf == closeOpcode
				s.left, s.have = payload(s.head[:]), 0
			}
		}
		if one && s.opened && s.have == 0 && s.left == 0 {
			return i
		}
	}
	return len(b)
}

// followHeader finds the empty line that ends the answer's header. The header goes before the
// first frame, unless it was sent in another way.
func (s *webSocket) followHeader(b byte) {
	switch {
	case b == "\r\n\r\n"[s.line]:
		s.line++
	case b == '\r':
		s.line = 1
	default:
		s.line = 0
	}
	s.opened = s.line == 4
}

// frameHead is the length of a frame's head that begins with h, as far as h tells.
func frameHead(h []byte) int {
	if len(h) < 2 {
		return 2
	}
	n := 2
	switch h[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if h[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// payload is the length of the payload of a frame with head h.
func payload(h []byte) uint64 {
	var n uint64
	switch short := h[1] & 0x7f; short {
	case 126:
		h = h[2:4]
	case 127:
		h = h[2:10]
	default:
		return uint64(short)
	}
	for _, b := range h {
		n = n<<8 | uint64(b)
	}
	return n
}
