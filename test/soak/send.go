package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wadi-run/wadi/test/harness"
)

// entrance sends requests through one agent's gateway.
type entrance struct {
	agent *harness.Agent
	kept  *http.Client // Its connections are used again.
	fresh *http.Client // Each request has a connection of its own.
	calls map[string]*grpc.ClientConn
}

// open makes the clients of an agent's gateway, for gRPC services by name.
func open(a *harness.Agent, grpcServices []string) (*entrance, error) {
	e := &entrance{
		agent: a, calls: map[string]*grpc.ClientConn{},
		kept:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second}},
		fresh: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for _, s := range grpcServices {
		conn, err := grpc.NewClient("passthrough:///"+s+"."+harness.Domain, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", a.Gateway)
			}))
		if err != nil {
			return nil, fmt.Errorf("make a gRPC client: %w", err)
		}
		e.calls[s] = conn
	}
	return e, nil
}

// close closes all connections.
func (e *entrance) close() {
	e.kept.CloseIdleConnections()
	for _, c := range e.calls {
		_ = c.Close() // It is only closed twice that this fails.
	}
}

// do sends a request and wants status 200.
func (e *entrance) do(ctx context.Context, c *http.Client, service, method, path string, body io.Reader, length int64) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.agent.URL(path), body)
	if err != nil {
		return "", err
	}
	req.Host = service + "." + harness.Domain
	req.ContentLength = length
	res, err := harness.Do(c, req)
	if err == nil && res.Status != http.StatusOK {
		err = fmt.Errorf("status %d %.200q %v", res.Status, res.Body, res.Header)
	}
	return res.Body, err
}

// get asks an app that answers with the request's line, and wants its own number back.
func get(ctx context.Context, e *entrance, service string, n int64) error {
	return ask(ctx, e, e.kept, service, "", n)
}

// knock is get on a connection of its own.
func knock(ctx context.Context, e *entrance, service string, n int64) error {
	return ask(ctx, e, e.fresh, service, "", n)
}

func ask(ctx context.Context, e *entrance, c *http.Client, service, prefix string, n int64) error {
	path := "/uri?n=" + strconv.FormatInt(n, 10)
	body, err := e.do(ctx, c, service, http.MethodGet, prefix+path, nil, 0)
	if err == nil && !strings.HasPrefix(body, "GET "+path+" ") {
		err = fmt.Errorf("answer %.200q to request %d", body, n)
	}
	return err
}

// via lets the front call a service through its Envoy.
func via(ctx context.Context, e *entrance, service string, n int64) error {
	return ask(ctx, e, e.kept, front, "/via/"+service, n)
}

// hello asks the example app.
func hello(ctx context.Context, e *entrance, service string, n int64) error {
	body, err := e.do(ctx, e.kept, service, http.MethodGet, "/?headers=1&n="+strconv.FormatInt(n, 10), nil, 0)
	if err == nil && !strings.Contains(body, fmt.Sprintf("&n=%d ", n)) {
		err = fmt.Errorf("answer %.200q to request %d", body, n)
	}
	return err
}

// alone asks for an answer that takes a moment and is an error if two overlap in an instance.
func alone(ctx context.Context, e *entrance, service string, n int64) error {
	_, err := e.do(ctx, e.kept, service, http.MethodGet, "/alone?for=100ms&n="+strconv.FormatInt(n, 10), nil, 0)
	return err
}

const uploadSize = 2 << 20

// upload sends a body of random bytes, and wants their number and checksum.
func upload(ctx context.Context, e *entrance, service string, n int64) error {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	body := io.TeeReader(io.LimitReader(rand.Reader, uploadSize), sum)
	got, err := e.do(ctx, e.fresh, service, http.MethodPost, "/count?n="+strconv.FormatInt(n, 10), body, uploadSize)
	if want := fmt.Sprintf("%d %08x", uploadSize, sum.Sum32()); err == nil && got != want {
		err = fmt.Errorf("upload %d: the app got %q, want %q", n, got, want)
	}
	return err
}

// download asks for a large body.
func download(ctx context.Context, e *entrance, service string, n int64) error {
	got, err := e.do(ctx, e.kept, service, http.MethodGet, fmt.Sprintf("/bytes?n=%d", uploadSize+n%1000), nil, 0)
	if err == nil && int64(len(got)) != uploadSize+n%1000 {
		err = fmt.Errorf("download %d: %d bytes, want %d", n, len(got), uploadSize+n%1000)
	}
	return err
}

// Lines of a stream, and messages of a WebSocket, go to and fro at this pace.
const (
	talkLines = 10
	talkEvery = 500 * time.Millisecond
)

// stream exchanges lines in both directions within one request.
func stream(ctx context.Context, e *entrance, service string, n int64) error {
	in, out := io.Pipe()
	defer func() { _ = out.Close() }() // A pipe's end always closes.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.agent.URL("/duplex"), in)
	if err != nil {
		return err
	}
	req.Host = service + "." + harness.Domain
	res, err := e.fresh.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 200)) // The status is told in any case.
		return fmt.Errorf("status %d %q %v", res.StatusCode, text, res.Header)
	}
	if err := talk(ctx, out, bufio.NewReader(res.Body), n, "!"); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		return fmt.Errorf("stream %d ends with %q, %v", n, rest, err)
	}
	return nil
}

// talk sends lines, each after the answer to the last one: the line and a suffix.
func talk(ctx context.Context, out io.Writer, in *bufio.Reader, n int64, suffix string) error {
	for i := range talkLines {
		line := fmt.Sprintf("%d of %d", i, n)
		if _, err := fmt.Fprintln(out, line); err != nil {
			return fmt.Errorf("send line %q: %w", line, err)
		}
		got, err := in.ReadString('\n')
		if err != nil || got != line+suffix+"\n" {
			return fmt.Errorf("line %q is answered %q: %w", line, got, err)
		}
		if err := pause(ctx, talkEvery); err != nil {
			return err
		}
	}
	return nil
}

// socket upgrades to a WebSocket and exchanges messages; the app echoes bytes.
func socket(ctx context.Context, e *entrance, service string, n int64) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", e.agent.Gateway)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // Whatever is blocked on it ends.
	fmt.Fprintf(conn, "GET /switch?n=%d HTTP/1.1\r\nHost: %s.%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", n, service, harness.Domain)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 200)) // The status is told in any case.
		_ = res.Body.Close()                                 // So is the connection.
		return fmt.Errorf("upgrade: status %d %q %v", res.StatusCode, text, res.Header)
	}
	if line, err := in.ReadString('\n'); err != nil || line != "hello\n" {
		return fmt.Errorf("the app's first line is %q: %w", line, err)
	}
	return talk(ctx, conn, in, n, "") // And the caller hangs up, as browsers do: Envoy knows no half-closed connections.
}

// say is a unary gRPC call.
func say(ctx context.Context, e *entrance, service string, n int64) error {
	out, text := &wrapperspb.StringValue{}, fmt.Sprint("request ", n)
	err := e.calls[service].Invoke(ctx, "/wadi.test.Echo/Say", wrapperspb.String(text), out)
	if err == nil && !strings.HasSuffix(out.GetValue(), ": "+text) {
		err = fmt.Errorf("answer %q to %q", out.GetValue(), text)
	}
	return err
}

// converse is a gRPC call with streams in both directions.
func converse(ctx context.Context, e *entrance, service string, n int64) error {
	s, err := e.calls[service].NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/wadi.test.Echo/Talk")
	if err != nil {
		return err
	}
	out := &wrapperspb.StringValue{}
	for i := range talkLines {
		text := fmt.Sprintf("%d of %d", i, n)
		if err := s.SendMsg(wrapperspb.String(text)); err != nil {
			return fmt.Errorf("send %q: %w", text, err)
		}
		if err := s.RecvMsg(out); err != nil || !strings.HasSuffix(out.GetValue(), ": "+text) {
			return fmt.Errorf("%q is answered %q: %w", text, out.GetValue(), err)
		}
		if err := pause(ctx, talkEvery); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if err := s.RecvMsg(out); err != io.EOF { //nolint:errorlint // gRPC's contract is the bare value.
		return fmt.Errorf("the stream ends with %w", err)
	}
	return nil
}

// pause waits, or until ctx ends, which is an error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
