package queue_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Early callers of a plane don't lock out later ones, whatever they do with their
// connections: Consul's check must get its answer.
func TestPlanes_LockNobodyOut(t *testing.T) {
	for name, sent := range map[string]string{
		"nothing":         "",
		"a beginning":     "GE",
		"one answer each": "GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"waits":           "GET /v1/stats?wait=5m HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a body to come":  "POST /ready HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, http.NotFound)
			for plane, url := range map[string]string{s.MetricsAddr(): "/ready", s.AdminAddr(): "/v1/admin/live"} {
				for range 300 { // More than the bound of open connections.
					c, err := net.Dial("tcp", plane)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = c.Close() })
					io.WriteString(c, sent)
				}
				for range 3 {
					client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
					res, err := client.Get(fmt.Sprint("http://", plane, url))
					if err != nil {
						t.Fatalf("%s: %v", url, err)
					}
					if _ = res.Body.Close(); res.StatusCode != http.StatusOK {
						t.Errorf("%s: %d", url, res.StatusCode)
					}
				}
			}
		})
	}
}
