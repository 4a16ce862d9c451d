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

// Watcher tells of callers that have gone while their requests wait. A net/http server
// looks for that only when a request has no body, or it is read to its end: of others
// it finds out when somebody reads on, and a request that waits is not read. What has
// come and was not read does not hide a caller's end from this; only bytes do that
// which the caller's own system still holds back.
//
// It is about HTTP/1: of HTTP/2 the server reads all the time. Its zero value is ready;
// [Watcher.ConnContext] is for the server.
type Watcher struct {
	mu    sync.Mutex
	over  bool // Nothing is watched any more, or can be.
	poll  *socket.Poller
	waits map[uint64]*hangUp
	last  uint64 // Key.
}

// hangUp is a connection that is watched, once at a time.
type hangUp struct {
	raw  syscall.RawConn
	gone func()
}

// callerKey is that of the caller's connection in a request's context.
type callerKey struct{}

type caller struct {
	raw syscall.RawConn
	of  *Watcher
}

// ConnContext is what [http.Server.ConnContext] is to be: it has requests know the
// connection by which they came.
func (h *Watcher) ConnContext(ctx context.Context, c net.Conn) context.Context {
	for {
		over, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = over.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return ctx
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, &caller{raw, h})
}

// callerOf is r's caller; nil if it can't be watched or need not be.
func callerOf(r *http.Request) *caller {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(callerKey{}).(*caller)
	return c
}

// CallerLeft reports whether r's caller has hung up, as far as its server does not
// see to that itself. It is to be asked before work begins for a request that has waited.
func CallerLeft(r *http.Request) (left bool) {
	c := callerOf(r)
	if c == nil {
		return false
	}
	err := c.raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		left = err == nil && n > 0
	})
	return left || err != nil
}

// Watch calls gone, once and on a goroutine of its own, when r's caller has hung
// up, until stop is called. That does not wait for a call that has begun.
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

// add watches w; 0 if that can't be.
func (h *Watcher) add(w *hangUp) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.poll == nil && !h.over {
		poll, err := socket.NewPoller()
		if err != nil {
			h.over = true // Then callers' leave is seen when the work is to begin.
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
		delete(h.waits, h.last) // It is closed, or the kernel watches no more than so many.
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

// run hears of those that have gone until the poller is closed.
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
