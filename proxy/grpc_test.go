package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

func TestRefuseGRPC(t *testing.T) {
	for _, tt := range []struct {
		kind    string // Content-Type of the request.
		http2   bool
		status  int
		message string
		code    string // Empty: it is left alone.
		encoded string
	}{
		{"application/grpc", true, 503, "no instance", "14", "no instance"},
		{"application/grpc+proto", true, 504, "", "4", ""},
		{"Application/gRPC; x=y", true, 403, "100 %\n\"é\"", "7", "100 %25%0A\"%C3%A9\""},
		{"application/grpc", true, 404, "x", "12", "x"},
		{"application/grpc", true, 502, "x", "14", "x"},
		{"application/grpc", true, 429, "x", "14", "x"},
		{"application/grpc", true, 401, "x", "16", "x"},
		{"application/grpc", true, 400, "x", "13", "x"},
		{"application/grpc", true, 500, strings.Repeat("x", 5000), "13", strings.Repeat("x", 1024)},
		{"application/grpc-web", true, 503, "x", "", ""},
		{"application/grpcish", true, 503, "x", "", ""},
		{"text/plain", true, 503, "x", "", ""},
		{"", true, 503, "x", "", ""},
		{"application/grpc", false, 503, "x", "", ""},
	} {
		addr := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Wadi-Error", "code")
			if !proxy.RefuseGRPC(w, r, tt.status, tt.message) {
				w.WriteHeader(418)
			}
		})
		req, _ := http.NewRequest(http.MethodPost, "http://"+addr, strings.NewReader("unread"))
		req.Header.Set("Content-Type", tt.kind)
		res, err := proxytest.Client(t, tt.http2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		want := 200
		if tt.code == "" {
			want = 418
		}
		h := res.Header
		if res.StatusCode != want || len(body) > 0 || h.Get("Wadi-Error") != "code" ||
			h.Get("Grpc-Status") != tt.code || h.Get("Grpc-Message") != tt.encoded ||
			(tt.code != "") != (h.Get("Content-Type") == "application/grpc") {
			t.Errorf("%q, %d: got %d %v %q, want code %q %q", tt.kind, tt.status, res.StatusCode, h, body, tt.code, tt.encoded)
		}
	}
}
