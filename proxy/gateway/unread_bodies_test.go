package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// A body that never comes delays neither the gateway's own answers nor the end of the
// connection.
func TestGateway_UnreadBodies(t *testing.T) {
	g, _ := newGateway(t, someRoutes())
	for name, tt := range map[string]struct {
		h    http.Handler
		host string
		want string
	}{
		"redirect":     {g.RedirectToTLS("443"), "hello.wadi.localhost", "HTTP/1.1 308 "},
		"unknown host": {g.RedirectToTLS("443"), "nobody.wadi.localhost", "HTTP/1.1 404 "},
		"refusal": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			activator.Refuse(w, r, activator.Refusal{Status: http.StatusServiceUnavailable, Code: "starting", Message: "the agent starts"})
		}), "hello.wadi.localhost", "HTTP/1.1 503 "},
	} {
		addr := run(t, gateway.ServerConfig{Handler: tt.h})
		for _, body := range []string{
			"Content-Length: 100\r\n\r\nab", "Content-Length: 100000000\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
			"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
		} {
			t.Run(name+" "+body, func(t *testing.T) {
				c := from(t, "127.0.0.1", addr, nil)
				_, _ = io.WriteString(c, "POST /a?b HTTP/1.1\r\nHost: "+tt.host+"\r\n"+body)
				got, err := io.ReadAll(c)
				if err != nil || !strings.Contains(string(got), tt.want) {
					t.Errorf("got %q, %v, want %sand the end", got, err, tt.want)
				}
			})
		}
	}
}
