package assets_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/internal/assets"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// program is the smallest file that is a program of Linux, with a text behind it.
func program(machine uint16, text string) []byte {
	head := make([]byte, 64)
	copy(head, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(head[16:], 2) // An executable.
	binary.LittleEndian.PutUint16(head[18:], machine)
	binary.LittleEndian.PutUint32(head[20:], 1)
	binary.LittleEndian.PutUint16(head[52:], 64)
	return append(head, text...)
}

const (
	amd64 = 62
	arm64 = 183
)

func sum(content []byte) string {
	h := sha256.Sum256(content)
	return hex.EncodeToString(h[:])
}

func write(t *testing.T, file string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return sum(content)
}

func open(t *testing.T, dir string, programs ...string) *assets.Store {
	t.Helper()
	s, err := assets.Open(assets.Options{Dir: dir, Programs: programs, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve serves a store on its own, and returns its address.
func serve(t *testing.T, s *assets.Store, fetch func(context.Context, string) error) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	assets.NewHandler(s, fetch, prometheus.NewRegistry()).Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	return do(t, http.MethodGet, url, headers...)
}

func do(t *testing.T, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// Programs beside the agent are served by checksum, for each architecture the first one; an
// upgrade adds the new one, and the old one stays.
func TestStore_Upgrade(t *testing.T) {
	beside := t.TempDir()
	old := write(t, filepath.Join(beside, "queue-proxy"), program(amd64, "old"))
	arm := write(t, filepath.Join(beside, "assets", "queue-proxy_linux_arm64"), program(arm64, "arm"))
	write(t, filepath.Join(beside, "assets", "queue-proxy_linux_amd64"), program(amd64, "a second one"))
	write(t, filepath.Join(beside, "assets", "notes"), []byte("no program"))
	dir := filepath.Join(t.TempDir(), "not", "there")
	write(t, filepath.Join(dir, ".new-killed"), []byte("half"))
	s := open(t, dir, filepath.Join(beside, "queue-proxy"), filepath.Join(beside, "assets"), filepath.Join(beside, "missing"))
	want := map[string]string{"amd64": old, "arm64": arm}
	if diff := cmp.Diff(want, sums(s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	next := write(t, filepath.Join(beside, "queue-proxy"), program(amd64, "the next release"))
	if err := s.Refresh(); err != nil {
		t.Fatal(err)
	}
	want["amd64"] = next
	if diff := cmp.Diff(want, sums(s)); diff != "" {
		t.Errorf("after an upgrade (-want +got):\n%s", diff)
	}
	server := serve(t, s, nil)
	for _, each := range []string{old, next, arm} {
		if res, body := get(t, server.URL+assets.Path+"/"+each); res.StatusCode != 200 || sum([]byte(body)) != each {
			t.Errorf("%s: %d, %q", each, res.StatusCode, body)
		}
	}
	write(t, filepath.Join(beside, "queue-proxy"), []byte("#!/bin/sh"))
	if err := s.Refresh(); err == nil || !strings.Contains(err.Error(), "no program of Linux") || sums(s)["arm64"] != arm {
		t.Errorf("with a script: %v, %v", err, sums(s))
	}
}

func sums(s *assets.Store) map[string]string {
	out := map[string]string{}
	for arch, a := range s.Current() {
		out[arch] = a.SHA256
	}
	return out
}

// A program can be had whole, in parts, by its head alone, and not again if it is there.
func TestHandler(t *testing.T) {
	beside := t.TempDir()
	content := program(amd64, "queue-proxy")
	of := write(t, filepath.Join(beside, "queue-proxy"), content)
	arm := write(t, filepath.Join(beside, "queue-proxy_arm"), program(arm64, ""))
	server := serve(t, open(t, t.TempDir(), beside), nil)
	url := server.URL + assets.Path + "/" + of
	for _, tt := range []struct {
		name, method string
		headers      []string
		status       int
		body         string
	}{
		{"whole", "GET", nil, 200, string(content)},
		{"head", "HEAD", nil, 200, ""},
		{"a part", "GET", []string{"Range", "bytes=64-"}, 206, "queue-proxy"},
		{"beyond", "GET", []string{"Range", "bytes=9999-"}, 416, "invalid range: failed to overlap\n"},
		{"had already", "GET", []string{"If-None-Match", `"` + of + `"`}, 304, ""},
	} {
		res, body := do(t, tt.method, url, tt.headers...)
		if res.StatusCode != tt.status || body != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.name, res.StatusCode, body, tt.status, tt.body)
		}
		if res.StatusCode < 300 && (res.Header.Get("Etag") != `"`+of+`"` || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || res.Header.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s: header %v", tt.name, res.Header)
		}
	}
	var list struct{ Assets []assets.Asset }
	res, body := get(t, server.URL+assets.Path+"?os=linux&arch=arm64")
	if err := json.Unmarshal([]byte(body), &list); err != nil || res.StatusCode != 200 {
		t.Fatalf("%d %s: %v", res.StatusCode, body, err)
	}
	if diff := cmp.Diff([]assets.Asset{{OS: "linux", Arch: "arm64", SHA256: arm, Size: 64, Current: true}}, list.Assets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever is asked for, nothing but programs is answered with.
func TestHandler_Attacks(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "..", "secret"), []byte("secret"))
	beside := t.TempDir()
	of := write(t, filepath.Join(beside, "queue-proxy"), program(amd64, ""))
	s := open(t, dir, beside)
	write(t, filepath.Join(dir, "notes"), []byte("secret"))
	if err := os.Symlink("/etc", filepath.Join(dir, strings.Repeat("a", 64))); err != nil {
		t.Fatal(err)
	}
	server := serve(t, s, nil)
	for _, path := range []string{
		"/../secret", "/%2e%2e%2fsecret", "/..%2fsecret", "/notes", "/" + strings.ToUpper(of), "/" + of + "/", "/" + of + "%00", "/" + of[:63],
		"/" + strings.Repeat("a", 64), "/" + strings.Repeat("0", 64), "/" + strings.Repeat("9", 8000), "//etc/passwd",
	} {
		if res, body := get(t, server.URL+assets.Path+path); res.StatusCode < 300 || strings.Contains(body, "secret") && !strings.Contains(path, "secret") || strings.Contains(body, "root:") {
			t.Errorf("%.100s: %d %.200q", path, res.StatusCode, body)
		}
	}
	for _, query := range []string{"?os=", "?os=linux&os=linux", "?version=1", "?%zz"} {
		if res, body := get(t, server.URL+assets.Path+query); res.StatusCode != 400 {
			t.Errorf("%s: %d %q", query, res.StatusCode, body)
		}
	}
	if res, _ := get(t, server.URL+assets.Path+"/"+of+"?archive=zip"); res.StatusCode != 400 {
		t.Errorf("a parameter of a program: %d", res.StatusCode)
	}
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		if res, _ := do(t, method, server.URL+assets.Path+"/"+of); res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, res.StatusCode)
		}
	}
}

// A file that was changed is not served, also if it was good before, and comes back from
// where there is a good one.
func TestStore_Corrupt(t *testing.T) {
	beside, dir := t.TempDir(), t.TempDir()
	good := program(amd64, "good")
	of := write(t, filepath.Join(beside, "queue-proxy"), good)
	s := open(t, dir, beside)
	other := open(t, t.TempDir(), beside)
	k := &assets.Keeper{
		Store: s, Log: hclog.NewNullLogger(), Named: func(context.Context) (map[string]int, error) { return map[string]int{of: 1}, nil },
		Peers: func() []string { return []string{strings.TrimPrefix(serve(t, other, nil).URL, "http://")} },
	}
	alone, helped := serve(t, s, nil), serve(t, s, k.Fetch)
	if res, _ := get(t, alone.URL+assets.Path+"/"+of); res.StatusCode != 200 {
		t.Fatalf("at first: %d", res.StatusCode)
	}
	write(t, filepath.Join(dir, of), program(amd64, "evil"))
	if res, body := get(t, alone.URL+assets.Path+"/"+of); res.StatusCode != 404 {
		t.Errorf("a changed program: %d %q", res.StatusCode, body)
	}
	if _, err := os.Stat(filepath.Join(dir, of)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	write(t, filepath.Join(dir, of), program(amd64, "evil again"))
	if res, body := get(t, helped.URL+assets.Path+"/"+of); res.StatusCode != 200 || body != string(good) {
		t.Errorf("with another agent: %d %q", res.StatusCode, body)
	}
	// Another agent is told what is here, and nobody is asked for it.
	write(t, filepath.Join(dir, of), program(amd64, "evil"))
	if res, body := get(t, helped.URL+assets.Path+"/"+of, assets.HeaderPeer, "1"); res.StatusCode != 404 {
		t.Errorf("to another agent: %d %q", res.StatusCode, body)
	}
	// Without another agent: this release's own is copied again.
	write(t, filepath.Join(dir, of), program(amd64, "evil"))
	get(t, alone.URL+assets.Path+"/"+of)
	if err := s.Refresh(); err != nil || !s.Has(of) {
		t.Errorf("not copied again: %v", err)
	}
}

// What other agents answer with is believed by its checksum alone, and within bounds; only
// what a revision names is asked for, and agents don't ask each other in circles.
func TestKeeper(t *testing.T) {
	content := program(amd64, "of the release before")
	of, absent := sum(content), strings.Repeat("0", 64)
	var asked atomic.Int32
	answer := func(h http.HandlerFunc) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if r.Header.Get(assets.HeaderPeer) == "" {
				t.Error("a peer is asked as if by Nomad")
			}
			h(w, r)
		}))
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	liar := answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(program(amd64, "evil")) })
	cut := answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:10])
	})
	away := answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://"+liar, http.StatusFound) })
	has := answer(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, of) {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	})
	named, failure := map[string]int{of: 2, absent: 1}, error(nil)
	dir := t.TempDir()
	s := open(t, dir)
	k := &assets.Keeper{
		Store: s, Log: hclog.NewNullLogger(), Named: func(context.Context) (map[string]int, error) { return named, failure },
		Peers: func() []string { return []string{liar, cut, away, "127.0.0.1:1"} },
	}
	if err := k.Fetch(t.Context(), sum([]byte("unknown"))); err == nil || asked.Load() > 0 {
		t.Errorf("what no revision names: %v, asked %d times", err, asked.Load())
	}
	if err := k.Fetch(t.Context(), of); err == nil || s.Has(of) {
		t.Errorf("believed: %v", err)
	}
	k.Peers = func() []string { return []string{liar, cut, has} }
	again := &assets.Keeper{Store: s, Log: k.Log, Named: k.Named, Peers: k.Peers}
	if err := again.Pass(t.Context()); err != nil || !s.Has(of) {
		t.Fatalf("not fetched: %v", err)
	}
	lacking, problem := again.State()
	if diff := cmp.Diff(map[string]int{absent: 1}, lacking); diff != "" || problem != nil {
		t.Errorf("lacking (-want +got):\n%s%v", diff, problem)
	}
	before := asked.Load()
	for range 5 {
		_ = again.Fetch(t.Context(), absent)
	}
	if got := asked.Load() - before; got > 0 {
		t.Errorf("asked %d times for what was nowhere a moment ago", got)
	}
	// What is not known is not nothing: nothing is removed.
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, of), old, old); err != nil {
		t.Fatal(err)
	}
	failure = errors.New("Consul is away")
	if err := again.Pass(t.Context()); !errors.Is(err, failure) || !s.Has(of) {
		t.Errorf("with Consul away: %v, there %t", err, s.Has(of))
	}
	failure = nil
	if err := again.Pass(t.Context()); err != nil || !s.Has(of) {
		t.Errorf("while named: %v, there %t", err, s.Has(of))
	}
	named = map[string]int{}
	if err := again.Pass(t.Context()); err != nil || !s.Has(of) {
		t.Errorf("not named any more, but a moment ago: %v, there %t", err, s.Has(of))
	}
	if err := os.Chtimes(filepath.Join(dir, of), old, old); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "notes"), []byte("an operator's"))
	if err := again.Pass(t.Context()); err != nil || s.Has(of) {
		t.Errorf("not named for long: %v, there %t", err, s.Has(of))
	}
	if _, err := os.Stat(filepath.Join(dir, "notes")); err != nil {
		t.Errorf("a foreign file: %v", err)
	}
}

// Callers that do not read hold a bounded number of turns of their own address only, and
// others are served meanwhile. Callers that leave give their turns back.
func TestHandler_SlowReaders(t *testing.T) {
	beside := t.TempDir()
	big := program(amd64, strings.Repeat("x", 32<<20)) // More than the buffers of a connection.
	of := write(t, filepath.Join(beside, "queue-proxy"), big)
	s := open(t, t.TempDir(), beside)
	mux := http.NewServeMux()
	assets.NewHandler(s, nil, prometheus.NewRegistry()).Register(mux)
	host := "10.0.0.1"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from := r.Header.Get("From"); from != "" {
			r.RemoteAddr = from + ":1"
		} else {
			r.RemoteAddr = host + ":1"
		}
		mux.ServeHTTP(w, r)
	}))
	defer server.Close()
	var slow []net.Conn
	for range 40 { // 8 are sent, 32 wait.
		c, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET %s/%s HTTP/1.1\r\nHost: x\r\n\r\n", assets.Path, of)
		slow = append(slow, c)
	}
	busy := func() error {
		res, body := get(t, server.URL+assets.Path+"/"+of, "Range", "bytes=0-3")
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			return fmt.Errorf("the 41st of one address: %d %.100q", res.StatusCode, body)
		}
		return nil
	}
	harnesstest.Eventually(t, time.Minute, busy)
	if res, body := get(t, server.URL+assets.Path+"/"+of, "Range", "bytes=1-3", "From", "10.0.0.2"); res.StatusCode != 206 || body != "ELF" {
		t.Errorf("another address: %d %.100q", res.StatusCode, body)
	}
	for _, c := range slow {
		_ = c.Close()
	}
	harnesstest.Eventually(t, time.Minute, func() error {
		if res, _ := get(t, server.URL+assets.Path+"/"+of); res.StatusCode != 200 {
			return fmt.Errorf("after they left: %d", res.StatusCode)
		}
		return nil
	})
}

// More than the bound is not kept, nor is what is under a wrong name.
func TestStore_Add(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Add("../../etc/x", bytes.NewReader(nil)); err == nil {
		t.Error("a path was taken for a checksum")
	}
	if err := s.Add(strings.Repeat("0", 64), strings.NewReader("x")); !errors.Is(err, assets.ErrChecksum) {
		t.Errorf("got %v", err)
	}
	if err := s.Add(strings.Repeat("0", 64), endless{}); err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("endless: %v", err)
	}
	if _, err := assets.Open(assets.Options{Dir: filepath.Join(os.DevNull, "x"), Log: hclog.NewNullLogger()}); err == nil {
		t.Error("a folder that can't be is no error")
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
