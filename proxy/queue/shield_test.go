package queue_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// Where there is no shield, the metrics plane says why, nothing is given to nft, and
// the instance serves.
func TestShield_ServesWithout(t *testing.T) {
	dir := t.TempDir()
	told := filepath.Join(dir, "told")
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte("#!/bin/sh\n: >"+told+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	envoy := serveApp(t, http.NotFound) // It listens, and is not asked.
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
	if _, err := os.Stat(told); err == nil {
		t.Error("nft was called")
	}
}
