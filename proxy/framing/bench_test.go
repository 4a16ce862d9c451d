package framing_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/proxy/framing"
)

// smallHead is what a browser's fetch or a service's client sends, roughly.
const smallHead = "GET /api/v1/things?id=42 HTTP/1.1\r\nHost: hello.example.com\r\nUser-Agent: Go-http-client/1.1\r\n" +
	"Accept: application/json\r\nAccept-Encoding: gzip\r\nX-Request-Id: 0f6a5c1b7e\r\n\r\n"

var largeHead = "GET / HTTP/1.1\r\nHost: hello.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Cookie: " + strings.Repeat("abcdefghij", 60) + "\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\r\n"

// endless is a connection on which the same comes again and again.
type endless struct {
	net.Conn
	what string
	next int
	most int // Bytes of one Read.
}

func (e *endless) Read(p []byte) (int, error) {
	if e.next == len(e.what) {
		e.next = 0
	}
	n := copy(p[:min(len(p), e.most)], e.what[e.next:])
	e.next += n
	return n, nil
}

func BenchmarkConn(b *testing.B) {
	for _, tt := range []struct {
		name, what string
		most       int
	}{
		{"small", smallHead, 4 << 10},
		{"small, split", smallHead, 100},
		{"large", largeHead, 4 << 10},
		{"length 1 MiB", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("x", 1<<20), 16 << 10},
		{"chunked 1 MiB", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("4000\r\n"+strings.Repeat("x", 16<<10)+"\r\n", 64) + "0\r\n\r\n", 16 << 10},
	} {
		buf := make([]byte, 16<<10)
		for _, who := range []struct {
			name string
			c    net.Conn
		}{
			{"checked", framing.New(framing.Config{}).Conn(&endless{what: tt.what, most: tt.most})},
			{"bare", &endless{what: tt.what, most: tt.most}},
		} {
			b.Run(tt.name+"/"+who.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					for left := len(tt.what); left > 0; {
						n, err := who.c.Read(buf)
						if err != nil && err != io.EOF {
							b.Fatal(err)
						}
						left -= n
					}
				}
			})
		}
	}
}
