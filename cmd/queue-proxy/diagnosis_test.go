package main_test

import (
	"fmt"
	"github.com/wadi-run/wadi/internal/freeport"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The queue-proxy says why its app is not ready, wherever it is asked: on the metrics
// plane, with its statistics, and on the traffic path.
func TestCommand_TellsWhyTheAppIsNotReady(t *testing.T) {
	bin := binary(t)
	answers := func(answer string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4<<10))
			_, _ = io.WriteString(c, answer)
		}
	}
	for _, tt := range []struct {
		name  string
		on    string // Where the app listens; empty: nowhere.
		app   func(net.Conn)
		probe string
		want  string // ADDR stands for the target, PORT for its port.
	}{
		{"nothing listens", "", nil, `{"http":"/healthz"}`, "nothing listens on ADDR (in a host network an app listens where PORT says)"},
		{"on ::1 only", "[::1]:0", answers(""), `{"tcp":true}`, "nothing listens on ADDR (the app listens on [::1]:PORT_OF_IT)"},
		{"refuses the host", "127.0.0.1:0", answers("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), `{"http":"/healthz"}`,
			"GET /healthz was answered 400 (the probe's Host is ADDR: does the app refuse hosts that it does not know?)"},
		{"fails", "127.0.0.1:0", answers("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), `{"http":"/healthz"}`, "GET /healthz was answered 500"},
		{"says nothing", "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, `{"http":"/healthz","timeout":"200ms"}`,
			"GET /healthz was not answered within 200ms (probe.timeout)"},
		{"steers terminals", "127.0.0.1:0", answers("\x1b[2J\x1b[31m" + strings.Repeat("x", 1000) + "\r\n\r\n"), `{"http":"/healthz"}`, "GET /healthz: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := unused(t)
			if tt.on != "" {
				l, err := net.Listen("tcp", tt.on)
				if err != nil {
					t.Skip(err)
				}
				serveConns(t, l, tt.app)
				_, port, _ := net.SplitHostPort(l.Addr().String())
				target = "127.0.0.1:" + port
			}
			_, port, _ := net.SplitHostPort(target)
			metrics, traffic := unused(t), unused(t)
			cmd := exec.Command(bin)
			cmd.Env = append(environ(metrics, traffic), "WADI_TARGET="+target, "WADI_PROBE="+tt.probe)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			want := strings.NewReplacer("ADDR", target, "PORT_OF_IT", port).Replace(tt.want)
			check := func(where, got string) {
				if !strings.HasPrefix(got, want) || len([]rune(got)) > 200 || strings.ContainsAny(got, "\x1b\r\n") {
					t.Errorf("%s says %q, want %q", where, got, want)
				}
			}
			res, body := await(t, "http://"+metrics+"/ready", func(_ *http.Response, body string) bool { return strings.HasPrefix(body, want) })
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("/ready is answered %d", res.StatusCode)
			}
			check("/ready", strings.TrimSuffix(body, "\n"))
			res, _ = await(t, "http://"+metrics+"/v1/stats", nil)
			check("/v1/stats", res.Header.Get("Wadi-Unready"))
			res, _ = await(t, "http://"+traffic+"/", nil, "Wadi-Probe", "a-00001")
			check("the probe", res.Header.Get("Wadi-Unready"))
		})
	}
}

// serveConns gives each connection of l to app, and closes it then.
func serveConns(t *testing.T, l net.Listener, app func(net.Conn)) {
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { app(c); _ = c.Close() }()
		}
	}()
}

// unused is an address at which nothing listens. The kernel gives its port to no
// connection, which could otherwise connect to itself there.
func unused(t *testing.T) string {
	t.Helper()
	l, err := freeport.Listen()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}

// await asks until the answer is as it shall be; nil takes any.
func await(t *testing.T, url string, ok func(*http.Response, string) bool, header ...string) (*http.Response, string) {
	t.Helper()
	last := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err.Error()
			continue
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if ok == nil || ok(res, string(body)) {
			return res, string(body)
		}
		last = fmt.Sprintf("%d %q", res.StatusCode, body)
	}
	t.Fatalf("%s: last was %s", url, last)
	return nil, ""
}
