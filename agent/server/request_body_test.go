package server_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A body that no handler reads, and that never arrives, does not keep its connection open.
func TestUnreadBodies(t *testing.T) {
	b := newBench(t, nil)
	for name, head := range map[string]string{
		"no such path":     "PUT /v1/nothing HTTP/1.1\r\nContent-Length: 100\r\n\r\nab",
		"a read":           "GET /v1/agent/self HTTP/1.1\r\nContent-Length: 100\r\n\r\nab",
		"malformed":        "PUT /v1/services HTTP/1.1\r\nContent-Length: 100\r\n\r\n{]",
		"chunked":          "PUT /v1/nothing HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
		"asked for":        "DELETE /v1/service/nothing HTTP/1.1\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
		"another site's":   "PUT /v1/services HTTP/1.1\r\nOrigin: http://elsewhere\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 100\r\n\r\nab",
		"a foreign Host":   "PUT /v1/services HTTP/1.1\r\nContent-Length: 100\r\n\r\nab",
		"not allowed here": "PUT /v1/events HTTP/1.1\r\nContent-Length: 100\r\n\r\nab",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", b.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			host := "localhost"
			if name == "a foreign Host" {
				host = "elsewhere.example.com"
			}
			if _, err := io.WriteString(c, strings.Replace(head, "HTTP/1.1\r\n", "HTTP/1.1\r\nHost: "+host+"\r\n", 1)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 ") {
				t.Errorf("got %q, %v, want an answer and the end", got, err)
			}
		})
	}
}

// A body that is no object changes nothing: null would be an empty one.
func TestBody_IsAnObject(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	for _, body := range []string{"null", " null ", "[]", `"x"`, "1", "true", "[{}]"} {
		for _, path := range []string{"PUT /v1/services", "POST /v1/services/validate", "POST /v1/services/plan", "PUT /v1/service/hello/scale"} {
			method, path, _ := strings.Cut(path, " ")
			b.want(t, 400, method, path, body, "not a JSON object")
		}
	}
}
