package queue_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

// health answers grpc.health.v1.Health/Check: serving only for this service.
func health(service string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status := byte(2) // NOT_SERVING
		if string(body) == string(frame(service)) && r.URL.Path == "/grpc.health.v1.Health/Check" && r.ProtoMajor == 2 {
			status = 1
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 1 << 3, status})
		w.Header().Set("Grpc-Status", "0")
	}
}

// frame is a HealthCheckRequest on the wire.
func frame(service string) []byte {
	if service == "" {
		return []byte{0, 0, 0, 0, 0}
	}
	n := byte(len(service))
	return append([]byte{0, 0, 0, 0, n + 2, 0x0a, n}, service...)
}

func TestProbe_Ready(t *testing.T) {
	for _, tt := range []struct {
		name, probe, protocol string
		app                   http.HandlerFunc
	}{
		{"http", `{"http": "/healthz?a=b"}`, "http1", func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI != "/healthz?a=b" || r.ProtoMajor != 1 {
				w.WriteHeader(http.StatusInternalServerError)
			}
			w.WriteHeader(http.StatusFound) // Up to 399 is ready.
		}},
		{"http over h2c", `{"http": "/healthz"}`, "h2c", func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}},
		{"grpc", `{"grpc": ""}`, "grpc", health("")},
		{"grpc of a service", `{"grpc": "echo.Echo"}`, "grpc", health("echo.Echo")},
		{"tcp", `{"tcp": true}`, "http1", func(http.ResponseWriter, *http.Request) { t.Error("a TCP probe sent a request") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, tt.app, "WADI_PROBE="+tt.probe, "WADI_PROTOCOL="+tt.protocol)
		})
	}
}

func TestProbe_NotReadyUntilTheAppSaysSo(t *testing.T) {
	for _, tt := range []struct {
		name, probe, protocol string
		no, yes               http.HandlerFunc
	}{
		{"http", `{"http": "/"}`, "http1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
			func(http.ResponseWriter, *http.Request) {}},
		{"http that hangs", `{"http": "/", "timeout": "20ms"}`, "http1", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(http.ResponseWriter, *http.Request) {}},
		{"grpc not serving", `{"grpc": "a"}`, "grpc", health("b"), health("a")},
		{"grpc without health service", `{"grpc": "a"}`, "grpc", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Grpc-Status", "12") }, health("a")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			var ready atomic.Bool
			s := startUnready(t, serveApp(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if ready.Load() {
					tt.yes(w, r)
				} else {
					tt.no(w, r)
				}
			}), "WADI_PROBE="+tt.probe, "WADI_PROTOCOL="+tt.protocol)
			eventually(t, "asked", func() bool { return asked.Load() >= 3 })
			if a := s.get(s.MetricsAddr(), "/ready"); a.StatusCode != 503 {
				t.Errorf("/ready: %d", a.StatusCode)
			}
			ready.Store(true)
			s.waitReady()
		})
	}
}
