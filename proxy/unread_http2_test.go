package proxy_test

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A caller of HTTP/2 that makes no room for an answer holds its stream for no longer
// than its request might have taken, or a moment.
func TestEndUnread_NoRoomInHTTP2(t *testing.T) {
	for name, h := range unreadWays {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, err := serveMemory(t, h).Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(long.D() + unreadFor))
				f := http2.NewFramer(conn, conn)
				go func() {
					_, _ = io.WriteString(conn, http2.ClientPreface)
					_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
					var head bytes.Buffer
					enc := hpack.NewEncoder(&head)
					for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}} {
						_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
					}
					_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true})
				}()
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						t.Fatalf("%v, want the stream's end", err)
					}
					if frame.Header().Type == http2.FrameRSTStream {
						return
					}
				}
			})
		})
	}
}

const unreadFor = 2 * time.Second // And some.
