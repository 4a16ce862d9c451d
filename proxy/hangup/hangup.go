// Package hangup notices callers of HTTP/1 that hang up while their requests wait.
//
// It promises one poller for all callers, and to read nothing of what they have sent.
package hangup

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wadi-run/wadi/proxy/socket"
)

// Watcher notices callers that hang up while their requests wait. A net/http server notices
// that only when a request has no body, or its body was read to the end; a request that waits
// is not read. Bytes that have come and were not read do not hide a hang-up from the watcher;
// bytes that the caller's own system still holds back do.
//
// It is for HTTP/1: with HTTP/2 the server reads all the time. The zero value is ready;
// [Watcher.ConnContext] is for the server.
type Watcher struct {
	mu    sync.Mutex
	over  bool // Nothing is watched any more: it was closed, or there is no poller.
	poll  *socket.Poller
	waits map[uint64]*hangUp
	last  uint64 // Key.
}

// hangUp is one connection that is watched.
type hangUp struct {
	raw  syscall.RawConn
	gone func()
}

// callerKey is the key of the caller in a request's context.
type callerKey struct{}

type caller struct {
	raw syscall.RawConn
	of  *Watcher
}

// ConnContext is for [http.Server.ConnContext]: it adds the connection to the context of its
// requests.
func (h *Watcher) ConnContext(ctx context.Context, c net.Conn) context.Context {
	raw := RawConn(c)
	if raw == nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, &caller{raw, h})
}

// RawConn returns the socket below c, which may be of TLS or another wrapper with NetConn;
// nil: there is none.
func RawConn(c net.Conn) syscall.RawConn {
	for {
		over, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = over.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// HasHungUp reports whether the peer of a socket has closed its side. It reads nothing.
func HasHungUp(raw syscall.RawConn) (hungUp bool) {
	err := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		hungUp = err == nil && n > 0
	})
	return hungUp || err != nil
}

// callerOf is r's caller; nil: it can't be watched, or need not be.
func callerOf(r *http.Request) *caller {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(callerKey{}).(*caller)
	return c
}

// CallerLeft reports whether r's caller has hung up, unless the server itself notices that. It
// is called before work begins for a request that has waited.
func CallerLeft(r *http.Request) bool {
	c := callerOf(r)
	return c != nil && HasHungUp(c.raw)
}

// Watch calls gone, once and on a goroutine of its own, when r's caller hangs up before stop
// is called. Stop does not wait for a call that has begun.
func Watch(r *http.Request, gone func()) (stop func()) {
	c := callerOf(r)
	if c == nil {
		return func() {}
	}
	key := c.of.add(&hangUp{c.raw, gone})
	return func() { c.of.remove(key) }
}

// Close ends all watching.
func (h *Watcher) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.poll != nil {
		h.poll.Close()
	}
}

// add watches w; 0: it can't be watched.
func (h *Watcher) add(w *hangUp) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.poll == nil && !h.over {
		poll, err := socket.NewPoller()
		if err != nil {
			h.over = true // Hang-ups are still seen by CallerLeft.
			return 0
		}
		h.poll, h.waits = poll, map[uint64]*hangUp{}
		go h.run(poll) // It ends with Close.
	}
	if h.over {
		return 0
	}
	h.last++
	h.waits[h.last] = w
	if h.poll.Add(w.raw, socket.Ended, h.last) != nil {
		delete(h.waits, h.last) // It is closed, or the kernel's limit of watches is reached.
		return 0
	}
	return h.last
}

func (h *Watcher) remove(key uint64) (w *hangUp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w = h.waits[key]; w != nil {
		delete(h.waits, key)
		_ = h.poll.Remove(w.raw) // It fails on closed ones.
	}
	return w
}

// run waits for hang-ups until the poller is closed.
func (h *Watcher) run(poll *socket.Poller) {
	var keys [64]uint64
	for {
		n, err := poll.Wait(keys[:], time.Time{})
		for _, key := range keys[:n] {
			if w := h.remove(key); w != nil {
				go w.gone()
			}
		}
		if n == 0 && err != nil {
			return
		}
	}
}
