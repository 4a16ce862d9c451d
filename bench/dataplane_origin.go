package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// origin is the app behind the contenders. It is as cheap as possible, and knows as much
// HTTP/1.1 as proxies need. GET /bytes/N gets N bytes, /hold is answered when the origin
// is released, and all other requests get a few bytes after their body has arrived.
type origin struct {
	net.Listener
	held    chan struct{} // Closed: /hold is answered at once.
	release func()
}

func newOrigin(addr string) (*origin, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	o := &origin{Listener: l, held: make(chan struct{})}
	o.release = sync.OnceFunc(func() { close(o.held) })
	go func() { // Ends with close.
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go o.serve(c)
		}
	}()
	return o, nil
}

func (o *origin) addr() string { return o.Listener.Addr().String() }

func (o *origin) close() {
	o.release()
	_ = o.Listener.Close() // Connections end with the proxies.
}

var (
	smallHead = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nContent-Length: " + strconv.Itoa(smallAnswer) + "\r\n\r\nhello, world\n")
	filler    = make([]byte, 256<<10)
)

// serve answers until the connection ends.
func (o *origin) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 4096)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		path := ""
		if f := bytes.Fields(line); len(f) == 3 {
			path = string(f[1])
		}
		length, err := headLength(r)
		if err != nil {
			return
		}
		if length > 0 && !swallow(c, r, length) {
			return
		}
		if err := o.answer(c, path); err != nil {
			return
		}
	}
}

func swallow(c net.Conn, r *bufio.Reader, length int64) bool {
	buf := make([]byte, 256<<10)
	n, err := r.Discard(int(min(length, int64(r.Buffered()))))
	for left := length - int64(n); left > 0 && err == nil; left -= int64(n) {
		n, err = c.Read(buf[:min(left, int64(len(buf)))])
	}
	return err == nil
}

func (o *origin) answer(c net.Conn, path string) error {
	if path == "/hold" {
		<-o.held
	}
	digits, ok := strings.CutPrefix(path, "/bytes/")
	if !ok {
		_, err := c.Write(smallHead)
		return err
	}
	left, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", left)); err != nil {
		return err
	}
	for left > 0 {
		n, err := c.Write(filler[:min(left, int64(len(filler)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
