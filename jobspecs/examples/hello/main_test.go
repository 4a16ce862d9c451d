package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestAnswer(t *testing.T) {
	app := app{revision: "hello-00002", instance: "0123456789"}
	server := httptest.NewServer(app.handler())
	defer server.Close()
	for _, tt := range []struct {
		name, method, url, body string
		status                  int
		want                    string
	}{
		{"plain", "GET", "/", "", 200, "hello from hello-00002 (instance 01234567)\n"},
		{"health", "GET", "/healthz", "", 200, "ok\n"},
		{"status", "GET", "/?status=500", "", 500, "hello from hello-00002 (instance 01234567)\n"},
		{"bytes", "GET", "/?bytes=5&sleep=1ms&cpu=1ms", "", 200, "xxxxx"},
		{"no bytes", "GET", "/any/path?bytes=0", "", 200, ""},
		{"stream", "GET", "/?stream=3&every=1ms", "", 200, "0 hello-00002\n1 hello-00002\n2 hello-00002\n"},
		{"headers", "GET", "/a?headers=1", "", 200, "GET /a?headers=1 HTTP/1.1\r\nHost: " + strings.TrimPrefix(server.URL, "http://") +
			"\r\nAccept-Encoding: gzip\r\nUser-Agent: Go-http-client/1.1\r\n"},
		{"alone", "GET", "/?exclusive=1", "", 200, "hello from hello-00002 (instance 01234567)\n"},
		{"echo", "POST", "/?status=201", "said", 201, "said"},
		{"bad duration", "GET", "/?sleep=long", "", 400, "time: invalid duration \"long\"\n"},
		{"bad status", "GET", "/?status=99", "", 400, "status 99 is not between 200 and 599\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+tt.url, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || string(got) != tt.want {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, tt.status, tt.want)
			}
		})
	}
}

// ANSWER holds for requests that say nothing else, and not for the probe.
func TestAnswer_Always(t *testing.T) {
	server := httptest.NewServer((&app{always: url.Values{"status": {"500"}}}).handler())
	defer server.Close()
	for path, want := range map[string]int{"/": 500, "/?bytes=1": 500, "/?status=201": 201, "/healthz": 200} {
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got status %d, want %d", path, resp.StatusCode, want)
		}
	}
	for _, bad := range []string{"status=99", "sleep=long", "%"} {
		env := map[string]string{"ADDR": "127.0.0.1", "PORT": "0", "ANSWER": bad}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // It would end at once.
		if err := run(ctx, func(k string) string { return env[k] }, io.Discard); err == nil {
			t.Errorf("ANSWER %q was taken", bad)
		}
	}
}

func TestAnswer_Exclusive(t *testing.T) {
	server := httptest.NewServer((&app{}).handler())
	defer server.Close()
	first, err := server.Client().Get(server.URL + "/?exclusive=1&stream=2&every=1m")
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"exclusive=1": 500, "": 200} {
		resp, err := server.Client().Get(server.URL + "/?" + query)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("got status %d for %q beside an exclusive request, want %d", resp.StatusCode, query, want)
		}
	}
	first.Body.Close() // Ends it.
}

func TestCall(t *testing.T) {
	upstream := httptest.NewServer((&app{}).handler())
	defer upstream.Close()
	all, err := parseUpstreams(upstream.URL, "other="+upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer((&app{upstreams: all}).handler())
	defer server.Close()
	for _, path := range []string{"/call/a", "/via/other/a"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path+"?headers=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Hello-Wadi-Revision", "r2")
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasPrefix(string(got), "GET /a?headers=1 ") || !strings.Contains(string(got), "\r\nWadi-Revision: r2\r\n") {
			t.Errorf("%s: got %q, %v", path, got, err)
		}
	}
	if _, err := parseUpstreams("", "http://127.0.0.1:1"); err == nil {
		t.Error("an upstream without a name was taken")
	}
}

func TestRun_FinishesWhatItHasBegun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, lines := io.Pipe()
	ended := make(chan error, 1)
	env := map[string]string{"ADDR": "127.0.0.1", "PORT": "0", "K_REVISION": "r1"}
	go func() { ended <- run(ctx, func(k string) string { return env[k] }, lines) }()
	buf := make([]byte, 200)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	addr, ok := strings.CutPrefix(strings.TrimSpace(string(buf[:n])), "r1 listens on ")
	if !ok {
		t.Fatalf("got %q", buf[:n])
	}
	resp, err := http.Get("http://" + addr + "/?stream=3&every=30ms")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stop() // The first line is here, the rest is not.
	body, err := io.ReadAll(resp.Body)
	if err != nil || strings.Count(string(body), "\n") != 3 {
		t.Errorf("got %q, %v, want three lines", body, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), func(string) string { return "1" }, io.Discard); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("FAIL_START: got %v", err)
	}
}
