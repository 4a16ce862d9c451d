package assets_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/internal/assets"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A program that is being replaced is not taken in by half, and the one before stays current
// meanwhile.
func TestStore_HalfWritten(t *testing.T) {
	whole, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queue-proxy")
	before := write(t, file, content)
	s := open(t, t.TempDir(), file)
	arch := ""
	for a := range s.Current() {
		arch = a
	}
	for _, part := range []int{100, len(content) / 2, len(content) - 1} {
		write(t, file, content[:part])
		if err := s.Refresh(); err == nil || sums(s)[arch] != before {
			t.Errorf("with %d of %d bytes: %v, current %s", part, len(content), err, sums(s)[arch])
		}
	}
	next := write(t, file, append(content, "the next release"...))
	if err := s.Refresh(); err != nil || sums(s)[arch] != next {
		t.Errorf("once it is whole: %v, current %s", err, sums(s)[arch])
	}
}

// An agent starts without room for another copy of what it has. A copy that is corrupt is no copy.
func TestStore_NoRoom(t *testing.T) {
	file, dir := filepath.Join(t.TempDir(), "queue-proxy"), t.TempDir()
	of := write(t, file, program(amd64, "same"))
	open(t, dir, file)
	was, err := os.Stat(filepath.Join(dir, of))
	if err != nil {
		t.Fatal(err)
	}
	open(t, dir, file)
	if is, err := os.Stat(filepath.Join(dir, of)); err != nil || !os.SameFile(was, is) {
		t.Errorf("it was written again: %v", err)
	}
	write(t, filepath.Join(dir, of), program(amd64, "evil"))
	s := open(t, dir, file)
	if f, err := s.Open(of); err != nil {
		t.Errorf("not written again: %v", err)
	} else {
		_ = f.Close()
	}
}

// A pipe under a checksum holds up nobody.
func TestStore_Pipe(t *testing.T) {
	dir, pipe := t.TempDir(), strings.Repeat("a", 64)
	if err := syscall.Mkfifo(filepath.Join(dir, pipe), 0o600); err != nil {
		t.Skip(err)
	}
	s := open(t, dir)
	if all, err := s.List(); err != nil || len(all) > 0 {
		t.Errorf("listed: %v %v", all, err)
	}
	if f, err := s.Open(pipe); err == nil {
		_ = f.Close()
		t.Error("it is served")
	}
}

// A corrupt copy of this release's own program comes from beside the agent when it is asked for.
func TestKeeper_OwnAgain(t *testing.T) {
	file, dir := filepath.Join(t.TempDir(), "queue-proxy"), t.TempDir()
	of := write(t, file, program(amd64, "own"))
	s := open(t, dir, file)
	k := &assets.Keeper{Store: s, Log: hclog.NewNullLogger(), Peers: func() []string { return nil },
		Named: func(context.Context) (map[string]int, error) { return map[string]int{of: 1}, nil }}
	server := serve(t, s, k.Fetch)
	write(t, filepath.Join(dir, of), program(amd64, "evil"))
	if res, body := get(t, server.URL+assets.Path+"/"+of); res.StatusCode != 200 || sum([]byte(body)) != of {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// Whoever registers as an agent and then answers slowly, or is nowhere, is not asked first again.
func TestKeeper_HostilePeer(t *testing.T) {
	content := program(amd64, "of the release before")
	of := sum(content)
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer stuck.Close()
	var asked atomic.Int32
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(content)
	}))
	defer good.Close()
	hostile, honest := strings.TrimPrefix(stuck.URL, "http://"), strings.TrimPrefix(good.URL, "http://")
	s := open(t, t.TempDir())
	k := &assets.Keeper{Store: s, Log: hclog.NewNullLogger(), Peers: func() []string { return []string{hostile} },
		Named: func(context.Context) (map[string]int, error) { return map[string]int{of: 1}, nil }}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := k.Fetch(ctx, of); err == nil {
		t.Fatal("got from nobody")
	}
	k.Peers = func() []string { return []string{hostile, honest} }
	if err := k.Fetch(t.Context(), of); err != nil || asked.Load() != 1 {
		t.Errorf("after it was slow once: %v", err)
	}
	// What is registered is no URL, and what is stored no path.
	again := &assets.Keeper{Store: open(t, t.TempDir()), Log: k.Log}
	again.Peers = func() []string {
		return []string{honest + "/x?", "user@" + honest, honest + "#", "x", ":80", honest + "/"}
	}
	again.Named = func(context.Context) (map[string]int, error) {
		return map[string]int{of: 1, "../../../metrics": 1}, nil
	}
	if err := again.Pass(t.Context()); err != nil || asked.Load() != 1 {
		t.Errorf("asked at a made-up address: %v", err)
	}
	again.Peers = func() []string { return []string{honest} }
	again.Named = func(context.Context) (map[string]int, error) { return map[string]int{"../../../metrics": 1}, nil }
	if err := again.Pass(t.Context()); err != nil || asked.Load() != 1 {
		t.Errorf("asked for a path: %v", err)
	}
	if lacking, _ := again.State(); len(lacking) > 0 {
		t.Errorf("lacking %v", lacking)
	}
}

// A look that fails is no empty answer, and those who ask while one goes on wait for it.
func TestKeeper_Reads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("Consul is away")
		of, answer := strings.Repeat("0", 64), make(chan error)
		k := &assets.Keeper{Store: open(t, t.TempDir()), Log: hclog.NewNullLogger(), Peers: func() []string { return nil },
			Named: func(context.Context) (map[string]int, error) {
				err := <-answer
				return map[string]int{of: 1}, err
			}}
		errs := make(chan error, 3)
		ask := func() { errs <- k.Fetch(t.Context(), of) }
		go ask()
		synctest.Wait()
		go ask()
		synctest.Wait()
		answer <- failure
		for range 2 {
			if err := <-errs; !errors.Is(err, failure) {
				t.Errorf("with Consul away: %v", err)
			}
		}
		time.Sleep(time.Minute)
		go ask()
		synctest.Wait()
		answer <- nil
		if err := <-errs; err == nil || strings.Contains(err.Error(), "no stored revision") {
			t.Errorf("named, and nowhere: %v", err)
		}
	})
}

// Nothing is removed that a revision names, also where the index has lost it.
func TestKeeper_Confirms(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	of := write(t, filepath.Join(dir, sum(program(amd64, "frozen"))), program(amd64, "frozen"))
	old := time.Now().Add(-48 * time.Hour)
	revisions, failure := map[string]int{of: 1}, errors.New("Consul is away")
	k := &assets.Keeper{Store: s, Log: hclog.NewNullLogger(), Peers: func() []string { return nil },
		Named:   func(context.Context) (map[string]int, error) { return map[string]int{}, nil },
		Confirm: func(context.Context) (map[string]int, error) { return revisions, failure }}
	pass := func() error {
		if err := os.Chtimes(filepath.Join(dir, of), old, old); err != nil {
			t.Fatal(err)
		}
		return k.Pass(t.Context())
	}
	if err := pass(); !errors.Is(err, failure) || !s.Has(of) {
		t.Errorf("with Consul away: %v, there %t", err, s.Has(of))
	}
	failure = nil
	if err := pass(); err != nil || !s.Has(of) {
		t.Errorf("a revision names it: %v, there %t", err, s.Has(of))
	}
	revisions = nil
	if err := pass(); err != nil || s.Has(of) {
		t.Errorf("none does: %v, there %t", err, s.Has(of))
	}
}

// Slow readers of a few addresses leave turns and places in the queue to others.
func TestHandler_SlowAddresses(t *testing.T) {
	beside := t.TempDir()
	of := write(t, filepath.Join(beside, "queue-proxy"), program(amd64, strings.Repeat("x", 32<<20)))
	mux, reg := http.NewServeMux(), prometheus.NewRegistry()
	assets.NewHandler(open(t, t.TempDir(), beside), nil, reg).Register(mux)
	var came atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = r.Header.Get("From") + ":1"
		came.Add(1)
		mux.ServeHTTP(w, r)
	}))
	defer server.Close()
	const callers = 4 * 45
	for i := range callers {
		c, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET %s/%s HTTP/1.1\r\nHost: x\r\nFrom: 10.0.0.%d\r\n\r\n", assets.Path, of, i%4+1)
	}
	harnesstest.Eventually(t, time.Minute, func() error {
		if n := came.Load(); n < callers {
			return fmt.Errorf("%d of %d came", n, callers)
		}
		return nil
	})
	if res, body := get(t, server.URL+assets.Path+"/"+of, "Range", "bytes=1-3", "From", "10.0.0.9"); res.StatusCode != 206 || !bytes.Equal([]byte(body), []byte("ELF")) {
		t.Errorf("another address: %d %.100q", res.StatusCode, body)
	}
}
