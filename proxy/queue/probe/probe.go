// Package probe asks the app whether it is ready, and knows the last answer.
//
// It promises that an app which starts is seen to be ready within a few milliseconds,
// and that a failed connection of a request ends readiness at once. It never restarts
// the app, and does not decide what happens to requests meanwhile.
package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
)

// Func asks the app once whether it is ready; nil means yes.
type Func func(context.Context) error

// New returns the probe that p asks for, of the app at target (host:port): GET of a
// path, gRPC's health check, or by default a TCP connection.
func New(p wadi.Probe, protocol wadi.Protocol, target string) Func {
	switch {
	case p.HTTP != "":
		return httpProbe(protocol, target, p.HTTP)
	case p.GRPC != nil:
		return grpcProbe(target, *p.GRPC)
	}
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// StatusError is an answer to an HTTP probe whose status is not a success.
type StatusError struct {
	Probe  string // For instance "GET /healthz".
	Status int
}

func (e *StatusError) Error() string { return fmt.Sprintf("%s was answered %d", e.Probe, e.Status) }

// Describe names the probe for people, for instance "GET /healthz".
func Describe(p wadi.Probe) string {
	switch {
	case p.HTTP != "":
		return "GET " + p.HTTP
	case p.GRPC != nil:
		return "gRPC health check " + strconv.Quote(*p.GRPC)
	}
	return "connect"
}

func httpProbe(protocol wadi.Protocol, target, path string) Func {
	transport := probeTransport(protocol != wadi.HTTP1)
	return func(ctx context.Context) error {
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "wadi-probe")
		res, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }() // The body was only read.
		if res.StatusCode < 200 || res.StatusCode > 399 {
			return &StatusError{Probe: "GET " + path, Status: res.StatusCode}
		}
		return nil
	}
}

// maxFrame is the smallest bound of a frame that HTTP/2 knows, in bytes.
const maxFrame = 16 << 10

// maxHealthAnswer bounds the bytes that are read of an answer, which has a few.
const maxHealthAnswer = 1 << 10

// grpcProbe calls grpc.health.v1.Health/Check. Its two messages have one field
// each, so they are written and read by hand.
func grpcProbe(target, service string) Func {
	transport := probeTransport(true)
	message := healthRequest(service)
	return func(ctx context.Context) error {
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost,
			"http://"+target+"/grpc.health.v1.Health/Check", bytes.NewReader(message))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("TE", "trailers")
		req.Header.Set("User-Agent", "wadi-probe")
		res, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }() // The body was only read.
		body, err := io.ReadAll(io.LimitReader(res.Body, maxHealthAnswer))
		if err != nil {
			return err
		}
		status := res.Trailer.Get("Grpc-Status")
		if status == "" {
			status = res.Header.Get("Grpc-Status") // The answer consists of trailers only.
		}
		if res.StatusCode != http.StatusOK || status != "0" {
			return fmt.Errorf("health check answered HTTP %d, gRPC status %q", res.StatusCode, status)
		}
		if !serving(body) {
			return fmt.Errorf("health check of %q: not serving", service)
		}
		return nil
	}
}

// frameHeader is a gRPC frame's flag and length before each message.
const frameHeader = 5

// healthRequest is a framed HealthCheckRequest{service: 1}.
func healthRequest(service string) []byte {
	var m []byte
	if service != "" {
		m = append(m, 1<<3|2) // Field 1, length-delimited.
		m = binary.AppendUvarint(m, uint64(len(service)))
		m = append(m, service...)
	}
	frame := make([]byte, frameHeader, frameHeader+len(m))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(m)))
	return append(frame, m...)
}

// serving says whether b is an uncompressed, framed HealthCheckResponse{status: 1}
// of SERVING, which is 1.
func serving(b []byte) bool {
	if len(b) < frameHeader || b[0] != 0 {
		return false
	}
	m := b[frameHeader:] // Field 1, a varint, and its value.
	return len(m) >= 2 && m[0] == 1<<3 && m[1] == 1
}

// probeTransport opens a connection for each probe: a probe shows whether the
// app accepts one.
func probeTransport(http2 bool) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		Protocols:              &protocols,
		DisableCompression:     true,
		DisableKeepAlives:      !http2,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        time.Second,
		HTTP2:                  &http.HTTP2Config{MaxReadFrameSize: maxFrame},
	}
}
