package connlimit

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/parking"
	"github.com/wadi-run/wadi/proxy/socket"
)

// Limiter bounds the connections of an HTTP server by a [Budget]. The owner of a connection is
// its peer's address, until [LimitedConn.Handshaken] names another. The server's ConnState has
// to be the limiter's.
type Limiter struct {
	budget *Budget
	exempt atomic.Pointer[[]netip.Prefix]
	park   *Park // Nil: idle connections stay with the server.
}

// New bounds connections to max. Peers with an exempt address, such as load
// balancers, have no bound of their own.
func New(max int, exempt []netip.Prefix) *Limiter {
	l := &Limiter{budget: NewBudget(max)}
	l.Exempt(exempt)
	return l
}

// Exempt replaces the addresses without a bound of their own, for the connections that come
// from now on.
func (l *Limiter) Exempt(addrs []netip.Prefix) { l.exempt.Store(&addrs) }

// Open is how many connections there are.
func (l *Limiter) Open() int { return l.budget.Open() }

// Listener returns l with its connections bounded, for a server without TLS.
func (l *Limiter) Listener(ln net.Listener) net.Listener { return &limitedListener{ln, l} }

type limitedListener struct {
	net.Listener
	limiter *Limiter
}

// Accept accepts the next connection for which there is a slot.
func (l *limitedListener) Accept() (net.Conn, error) {
	c, err := l.limiter.Accept(l.Listener, nil)
	if err != nil {
		return nil, err // A nil *LimitedConn would not be a nil net.Conn.
	}
	return c, nil
}

// descriptorsAtOnce is how many idle connections are closed when the process has no file
// descriptors left: an accepted connection needs more than its own.
const descriptorsAtOnce = 8

// Accept accepts the next connection of ln for which there is a slot. Wrap, if not nil, wraps
// the accepted connection for reading and writing.
func (l *Limiter) Accept(ln net.Listener, wrap func(net.Conn) net.Conn) (*LimitedConn, error) {
	for {
		below, err := ln.Accept()
		switch {
		case err == nil:
			if c := l.admit(below, wrap); c != nil {
				return c, nil
			}
		case !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE), !l.budget.EvictIdle():
			return nil, err
		default:
			for range descriptorsAtOnce - 1 {
				l.budget.EvictIdle()
			}
		}
	}
}

// admit takes a slot for an accepted connection. Nil: there is none, and it is closed.
func (l *Limiter) admit(below net.Conn, wrap func(net.Conn) net.Conn) *LimitedConn {
	c := &LimitedConn{Conn: below, below: below, park: l.park}
	c.quiet.Store(time.Now().UnixNano())
	if wrap != nil {
		c.Conn = wrap(below)
	}
	owner, exempt := l.ownerOf(below.RemoteAddr())
	if c.slot = l.budget.Admit(owner, exempt, c); c.slot == nil {
		_ = c.Conn.Close() // Nothing was sent on it.
		return nil
	}
	return c
}

// ownerOf names the owner of a connection from addr.
func (l *Limiter) ownerOf(addr net.Addr) (owner string, exempt bool) {
	ip, ok := addressOf(addr.String())
	if !ok {
		return addr.String(), false
	}
	if slices.ContainsFunc(*l.exempt.Load(), func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return ip.String(), true
	}
	return owning(ip), false
}

// OwnerOf names the owner of an address, with or without a port, for sharing something among
// owners. A text that is not an address is its own owner.
func OwnerOf(addr string) string {
	if ip, ok := addressOf(addr); ok {
		return owning(ip)
	}
	return addr
}

// owning names the owner of ip: the holder of an IPv6 address mostly has all of its /64.
func owning(ip netip.Addr) string {
	if ip.Is6() {
		net64, _ := ip.Prefix(64) // An IPv6 address has one.
		return net64.String()
	}
	return ip.String()
}

func addressOf(addr string) (ip netip.Addr, ok bool) {
	p, err := netip.ParseAddrPort(addr)
	if ip = p.Addr(); err != nil {
		ip, err = netip.ParseAddr(addr)
	}
	return ip.Unmap().WithZone(""), err == nil
}

// ConnState notes a connection's state; it is for [http.Server.ConnState].
func (l *Limiter) ConnState(conn net.Conn, state http.ConnState) {
	c := limited(conn)
	if c == nil {
		return
	}
	switch state {
	case http.StateActive:
		c.set(Active)
	case http.StateIdle:
		c.quiet.Store(time.Now().UnixNano())
		c.set(Idle)
	}
}

// limited finds the bounded connection in a server's connection, which may be TLS over it.
func limited(conn net.Conn) *LimitedConn {
	for {
		switch c := conn.(type) {
		case *LimitedConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// LimitedConn is a connection that has a slot. It has one reader at a time.
type LimitedConn struct {
	net.Conn
	below net.Conn
	slot  *Slot

	begun bool         // A byte has come. The reader's.
	http2 atomic.Bool  // It speaks HTTP/2, where a frame need not begin a request.
	state atomic.Int32 // As the slot has it.

	park   *Park
	ticket parking.Ticket // There.
	quiet  atomic.Int64   // When it was accepted or became idle, in Unix nanoseconds.
}

var _ Evictable = (*LimitedConn)(nil)

// http2Line begins a connection that speaks HTTP/2, and none that speaks HTTP/1. The
// server reads no more of it at first.
const http2Line = "PRI * HTTP/2.0"

func (c *LimitedConn) set(state State) {
	if State(c.state.Swap(int32(state))) != state || state == Idle {
		c.slot.Set(state)
	}
}

// Handshaken notes that the TLS handshake over c is complete, and the identity that the peer
// has proved, "" if none. False: that identity has too many connections.
func (c *LimitedConn) Handshaken(identity string, http2 bool) bool {
	c.http2.Store(http2)
	c.set(Idle)
	return identity == "" || c.slot.Assign(identity)
}

// Read notes that a request, or a handshake, has begun.
func (c *LimitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	if !c.begun {
		c.begun = true
		if bytes.HasPrefix(p[:n], []byte(http2Line)) {
			c.http2.Store(true)
		}
	}
	if State(c.state.Load()) == Idle && !c.http2.Load() {
		c.set(Reading)
	}
	return n, err
}

// Close closes the connection, and gives its slot back.
func (c *LimitedConn) Close() error {
	defer c.slot.Release()
	defer c.park.forget(c)
	return c.Conn.Close()
}

// Evict implements Evictable. The server's next read fails.
func (c *LimitedConn) Evict() {
	_ = c.below.Close() // It was not in use.
	c.park.forget(c)
}

// HasUnread implements Evictable.
func (c *LimitedConn) HasUnread() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	n, err := socket.Peek(raw) // It fails on closed ones.
	return err == nil && n > 0
}

// SyscallConn is the connection's file descriptor.
func (c *LimitedConn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.below.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, http.ErrNotSupported
}

// ReadFrom lets the kernel copy from one connection to another.
func (c *LimitedConn) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// WriteTo does so, too.
func (c *LimitedConn) WriteTo(w io.Writer) (int64, error) {
	if from, ok := c.Conn.(io.WriterTo); ok {
		return from.WriteTo(w)
	}
	return io.Copy(w, struct{ io.Reader }{c.Conn})
}

// CloseWrite ends what is sent.
func (c *LimitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Upgraded implements [proxy.RequestChecker].
func (c *LimitedConn) Upgraded() {
	proxy.NotifyUpgraded(c.Conn)
}
