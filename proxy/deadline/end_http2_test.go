package deadline_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

// A caller of HTTP/2 that makes no room for an answer holds its stream for no longer
// than its request might have taken, or a moment.
func TestEndUnread_NoRoomInHTTP2(t *testing.T) {
	for name, h := range unreadWays {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, err := proxytest.ServeMemory(t, h).Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(long.D() + bodyTimeout))
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

const bodyTimeout = 2 * time.Second // And some.

// What is answered by a header alone waits for no room. A bound of it would outlive the
// stream where many end at once, and reset what has ended.
func TestEndUnread_HeaderAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := proxytest.ServeMemory(t, func(w http.ResponseWriter, r *http.Request) {
			deadline.EndUnread(w, r)
			proxy.RefuseGRPC(w, r, http.StatusServiceUnavailable, "no")
		}).Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f := http2.NewFramer(conn, conn)
		ended := make(chan uint32, 1000)
		rst := 0
		go func() {
			for {
				fr, err := f.ReadFrame()
				if err != nil {
					close(ended)
					return
				}
				if fr.Header().Type == http2.FrameRSTStream {
					rst++
				}
				if fr.Header().Flags.Has(http2.FlagDataEndStream) && (fr.Header().Type == http2.FrameData || fr.Header().Type == http2.FrameHeaders) {
					ended <- fr.Header().StreamID
				}
			}
		}()
		_, _ = io.WriteString(conn, http2.ClientPreface)
		_ = f.WriteSettings()
		var head bytes.Buffer
		enc := hpack.NewEncoder(&head)
		for i := range 640 {
			head.Reset()
			for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}, {"content-type", "application/grpc"}} {
				_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
			}
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true})
			if i%64 == 63 {
				for range 64 {
					<-ended
				}
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if rst > 0 {
			t.Errorf("%d streams were reset that had ended", rst)
		}
	})
}
