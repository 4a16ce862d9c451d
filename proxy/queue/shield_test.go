package queue_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// Where the shield can't be raised, the metrics plane says why, nft is not called, and the
// instance serves.
func TestShield_ServesWithout(t *testing.T) {
	dir := t.TempDir()
	called := filepath.Join(dir, "called")
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte("#!/bin/sh\n: >"+called+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	envoy := serveApp(t, http.NotFound) // It listens, and gets no request.
	s := start(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"WADI_SHIELD=true", "WADI_ENVOY="+envoy)
	for url, want := range map[string]string{
		"http://" + s.Addr() + "/":                "",
		"http://" + s.MetricsAddr() + "/ready":    "",
		"http://" + s.MetricsAddr() + "/v1/stats": "it has no bridge network of its own",
	} {
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.Header.Get("Wadi-Unshielded"); res.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: status %d, %q, want %q", url, res.StatusCode, got, want)
		}
	}
	if _, err := os.Stat(called); err == nil {
		t.Error("nft was called")
	}
}
