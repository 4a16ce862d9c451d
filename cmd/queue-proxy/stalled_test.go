package main_test

import (
	bits "encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/freeport"
)

// mib is a task's default memory, see package jobspecs.
const mib = 64

// dial opens a connection to p, which has a while for all that is to come.
func (p *process) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	return c
}

// frame is a frame of HTTP/2, of whose payload some may be still to come.
func frame(kind, flags byte, stream uint32, length int, payload string) string {
	b := []byte{byte(length >> 16), byte(length >> 8), byte(length), kind, flags}
	return string(bits.BigEndian.AppendUint32(b, stream)) + payload
}

// The types of frames, and a flag.
const (
	dataFrame, headersFrame, settingsFrame, pingFrame = 0, 1, 4, 6
	endStream, endHeaders                             = 1, 4
)

// nextFrame reads one.
func nextFrame(t *testing.T, c net.Conn) (kind, flags byte, payload []byte) {
	t.Helper()
	var head [9]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(c, payload); err != nil {
		t.Fatal(err)
	}
	return head[3], head[4], payload
}

// http2 begins HTTP/2 with our settings, and returns how long a frame may be.
func http2(t *testing.T, c net.Conn, settings string) (frameSize int) {
	t.Helper()
	io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+frame(settingsFrame, 0, 0, len(settings), settings))
	kind, _, payload := nextFrame(t, c)
	if kind != settingsFrame {
		t.Fatalf("a frame of type %d first", kind)
	}
	frameSize = 16 << 10
	for ; len(payload) >= 6; payload = payload[6:] {
		if bits.BigEndian.Uint16(payload) == 5 {
			frameSize = int(bits.BigEndian.Uint32(payload[2:]))
		}
	}
	return frameSize
}

// heap is how many MiB the process has asked of the system and not given back, be
// they resident or not: that is what its collector of garbage counts.
func heap(t *testing.T, metrics string) int {
	t.Helper()
	res, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	bytes := 0.0
	for name, sign := range map[string]float64{"sys": 1, "heap_released": -1} {
		var n float64
		_, rest, _ := strings.Cut(string(text), "\ngo_memstats_"+name+"_bytes ")
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		bytes += sign * n
	}
	return int(bytes) >> 20
}

// A connection on which a frame has begun has memory for all of that, so it may not be
// long: 42 bytes on each of 200 connections made it more than the task has.
func TestCommand_Memory_FramesThatBegin(t *testing.T) {
	ports, err := freeport.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	metrics := fmt.Sprintf("127.0.0.1:%d", ports[0])
	p := started(t, "127.0.0.1:1", fmt.Sprint("NOMAD_MEMORY_LIMIT=", mib), "WADI_METRICS="+metrics)
	before := heap(t, metrics)
	for range 200 {
		c := p.dial(t)
		size := http2(t, c, "")
		io.WriteString(c, frame(pingFrame, 0, 0, 8, "12345678")+frame(headersFrame, endHeaders, 1, size, ""))
		for answered := false; !answered; { // It has read so far.
			kind, flags, _ := nextFrame(t, c)
			answered = kind == pingFrame && flags == 1
		}
	}
	got := 0
	for range 20 { // What comes after the answers to the pings has its time.
		got = max(got, heap(t, metrics))
	}
	if t.Logf("%d MiB, before %d", got, before); got > mib {
		t.Errorf("more than the %d MiB of the task", mib)
	}
}
