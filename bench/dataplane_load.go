package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// shot is a request that the load generator sends again and again.
type shot struct {
	head string // Includes the empty line at its end.
	body int64  // Bytes that follow.
}

// bodyShot downloads so many bytes, or uploads them.
func bodyShot(size int64, up bool) shot {
	if up {
		return shot{fmt.Sprintf("POST /up HTTP/1.1\r\nHost: bench.example\r\nContent-Length: %d\r\n\r\n", size), size}
	}
	return shot{head: fmt.Sprintf("GET /bytes/%d HTTP/1.1\r\nHost: bench.example\r\n\r\n", size)}
}

// client is a load generator on persistent connections.
type client struct{ conns []*wire }

// wire is one connection of a client.
type wire struct {
	net.Conn
	r       *bufio.Reader
	scratch []byte
}

// grace is how long after the end of a turn an answer may come.
const grace = time.Minute

func newClient(ctx context.Context, addr string, conns int) (*client, error) {
	c := &client{}
	for range conns {
		w, err := dialWire(ctx, addr, "")
		if err != nil {
			c.close()
			return nil, err
		}
		w.scratch = make([]byte, 256<<10)
		c.conns = append(c.conns, w)
	}
	return c, nil
}

// dialWire connects from an address of this machine; empty is any.
func dialWire(ctx context.Context, addr, from string) (*wire, error) {
	d := net.Dialer{}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: conn, r: bufio.NewReaderSize(conn, 512)}, nil
}

func (c *client) close() {
	for _, w := range c.conns {
		_ = w.Close() // All answers were read.
	}
}

// load sends on all connections for a while and counts the answers.
func (c *client) load(ctx context.Context, s shot, lasts time.Duration) (int64, error) {
	until := time.Now().Add(lasts)
	var n atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, len(c.conns))
	for i, w := range c.conns {
		if err := w.SetDeadline(until.Add(grace)); err != nil {
			return 0, err
		}
		all.Go(func() {
			answered := int64(0)
			for time.Now().Before(until) && ctx.Err() == nil && errs[i] == nil {
				if errs[i] = w.fire(s); errs[i] == nil {
					answered++
				}
			}
			n.Add(answered)
		})
	}
	all.Wait()
	return n.Load(), errors.Join(append(errs, ctx.Err())...)
}

// fire sends one request and reads its whole answer, which must be 200 with a
// Content-Length.
func (w *wire) fire(s shot) error {
	if _, err := io.WriteString(w.Conn, s.head); err != nil {
		return err
	}
	for left := s.body; left > 0; {
		n, err := w.Write(w.scratch[:min(left, int64(len(w.scratch)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return w.answer()
}

func (w *wire) answer() error {
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %q", line)
	}
	length, err := headLength(w.r)
	if err != nil {
		return err
	}
	if length < 0 {
		return errors.New("answered without a Content-Length")
	}
	return w.discard(length)
}

// discard reads a body: first what is buffered, then large pieces past the buffer.
func (w *wire) discard(length int64) error {
	n, err := w.r.Discard(int(min(length, int64(w.r.Buffered()))))
	for left := length - int64(n); left > 0 && err == nil; left -= int64(n) {
		if len(w.scratch) == 0 {
			n, err = w.r.Discard(int(left))
			continue
		}
		n, err = w.Read(w.scratch[:min(left, int64(len(w.scratch)))])
	}
	return err
}

// headLength reads the rest of a head and returns its Content-Length; -1: none.
func headLength(r *bufio.Reader) (int64, error) {
	const name = "content-length:"
	length := int64(-1)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("read head: %w", err)
		}
		if len(line) <= 2 {
			return length, nil
		}
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(line[len(name):])), 10, 64); err != nil {
				return 0, fmt.Errorf("read head: %w", err)
			}
		}
	}
}
