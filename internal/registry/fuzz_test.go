package registry_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/registry"
)

// isOfAKind checks that an answer is a digest, or an error of a kind that a registry can cause.
func isOfAKind(t *testing.T, host, got string, err error) {
	t.Helper()
	if err == nil {
		if !strings.HasPrefix(got, "sha256:") || len(got) != 71 {
			t.Errorf("the digest is %q", got)
		}
		return
	}
	for _, k := range []error{
		registry.ErrNotFound, registry.ErrUnauthorized, registry.ErrTooManyRequests, registry.ErrUnavailable,
		registry.ErrRefusedAddress, registry.ErrMalformed,
	} {
		if errors.Is(err, k) {
			wantKind(t, err, k, host)
			return
		}
	}
	t.Errorf("an error of no kind: %v", err)
}

// raw answers each request on loopback with bytes, and closes the connection.
func raw(t *testing.T, answer string) (host string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			in := bufio.NewReader(c)
			if first, err := in.Peek(1); err == nil && first[0] != 0x16 { // It begins a handshake of TLS.
				if _, err := http.ReadRequest(in); err == nil {
					_, _ = c.Write([]byte(answer))
				}
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// What is no HTTP, or only half of it, is an error of a kind.
func TestAttack_Raw(t *testing.T) {
	for _, answer := range []string{
		"", "\x00", "HTTP/1.0 200\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 999 ?\r\n\r\n", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 200 OK\r\nDocker-Content-Digest: " + digest + "\r\nDocker-Content-Digest: x\r\n\r\n",
	} {
		host := raw(t, answer)
		got, err := resolve(t, resolver(t, registry.Settings{Timeout: 30 * time.Second}), host+"/team/web:1", own)
		isOfAKind(t, host, got, err)
	}
}

// Whatever a registry and its token service answer, there is a digest or an error of a kind,
// in one line and without secrets.
func FuzzAnswers(f *testing.F) {
	f.Add(200, "", "", digest, "a", "", "{}")
	f.Add(401, `Bearer realm="/t",service="s"`, "", "", "", "", `{"token": "a"}`)
	f.Add(401, `Bearer realm="http://HOST/t",service="s"`, "", "", "", "", `{"token": "a"}`)
	f.Add(401, `Basic realm="x"`, "", "", "", "", "")
	f.Add(307, "", "http://HOST/x", "", "", "", "")
	f.Add(404, "", "", "", "", "", `{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "a\nb`+secret+`"}]}`)
	f.Add(429, "", "", "", "", "100", `{"errors": [{"code": "TOOMANYREQUESTS", "message": "\u001b"}]}`)
	var answer http.HandlerFunc // Of the question that is asked; one at a time.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	f.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	r, err := registry.New(registry.Options{Settings: registry.Settings{Timeout: 10 * time.Second}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, challenge, location, hash, kind, later, body string) {
		if status < 200 || status > 499 {
			t.Skip("no status, or asked three times")
		}
		if n, err := strconv.Atoi(later); err == nil && n < 100 {
			t.Skip("it would be waited for")
		}
		if strings.Contains(strings.ToLower(location+challenge), "https:") {
			t.Skip("it would leave this machine")
		}
		answer = func(w http.ResponseWriter, r *http.Request) {
			for name, value := range map[string]string{
				"WWW-Authenticate": challenge, "Location": location, "Docker-Content-Digest": hash, "Content-Type": kind, "Retry-After": later,
			} {
				if value != "" {
					w.Header().Set(name, strings.ReplaceAll(value, "HOST", host))
				}
			}
			if r.URL.Path == "/t" {
				w.WriteHeader(http.StatusOK)
			} else {
				w.WriteHeader(status)
			}
			_, _ = w.Write([]byte(body))
		}
		got, err := resolve(t, r, host+"/team/web:1", own)
		isOfAKind(t, host, got, err)
	})
}
