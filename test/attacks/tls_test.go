//go:build e2e

package attacks_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A renewed certificate is served without a restart, a damaged one never, and the command
// line calls the agent by it.
func TestTLS_Renewed(t *testing.T) {
	serial := func() (int64, error) {
		conn, err := tls.Dial("tcp", open.API, &tls.Config{RootCAs: roots(t)})
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	_, err := authority.Write(filepath.Dir(files.Cert), 3, stack.Cluster.HostIP, "wadi.example.com")
	must(t, "renew the certificate", err)
	eventually(t, waitLong, func() error {
		if n, err := serial(); n != 3 {
			return fmt.Errorf("it serves number %d, %v", n, err)
		}
		return nil
	})
	key, err := os.ReadFile(files.Key)
	must(t, "read the key", err)
	must(t, "damage the key", os.WriteFile(files.Key, []byte("-----BEGIN"), 0o600))
	eventually(t, waitLong, func() error {
		if !strings.Contains(open.Tail(1000), "going on with what was there") {
			return fmt.Errorf("its log does not say so")
		}
		return nil
	})
	if n, err := serial(); n != 3 {
		t.Errorf("with a damaged key it serves number %d, %v", n, err)
	}
	must(t, "mend the key", os.WriteFile(files.Key, key, 0o600))
	if code, body := plainly(t, open.API, "/v1/agent/health"); code != http.StatusBadRequest || strings.Contains(body, "ok") {
		t.Errorf("plain HTTP: got %d %s", code, body)
	}
	ran, err := open.Wadi(t.Context(), "", "service", "list", "-address", "https://"+open.API, "-ca-cert", files.CA, "-token", bob)
	if err != nil || ran.Code != 0 {
		t.Errorf("wadi service list: %v, %s", err, ran)
	}
	ran, err = open.Wadi(t.Context(), "", "service", "list", "-address", "https://"+open.API, "-token", bob)
	if err != nil || ran.Code != 1 || !strings.Contains(ran.Stderr, "-ca-cert") {
		t.Errorf("without the authority: %v, %s", err, ran)
	}
	old, err := tls.Dial("tcp", open.API, &tls.Config{RootCAs: roots(t), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		_ = old.Close()
		t.Error("it speaks TLS 1.1")
	}
}
