// Package docker talks to the Docker engine of a development cluster.
//
// It promises that a question has a deadline, that an answer is bounded, and that it removes
// nothing but containers of allocations and an image that it is told. It refuses engines
// whose containers are elsewhere: on another machine, in a virtual one, or in a network of
// their own user. It is no client for anything else.
package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultEndpoint is where an engine listens unless DOCKER_HOST says otherwise.
const DefaultEndpoint = "unix:///var/run/docker.sock"

const (
	timeout   = 10 * time.Second // Of one question.
	maxAnswer = 16 << 20         // Of one answer, in bytes.
)

// ErrAway says that nothing listens at the endpoint: no engine runs.
var ErrAway = errors.New("no engine answers")

// Engine is a Docker engine.
type Engine struct {
	Endpoint string // unix:///run/docker.sock, or tcp://127.0.0.1:2375.
	Name     string // What it calls itself, such as "Docker 28.2.2".

	client *http.Client
	base   string
}

// Find looks for the engine of DOCKER_HOST, or else at the usual socket. The error says why
// there is none that a Nomad on this machine can use.
func Find(ctx context.Context, getenv func(string) string) (*Engine, error) {
	endpoint := getenv("DOCKER_HOST")
	if endpoint == "" {
		endpoint = DefaultEndpoint
	}
	e, err := Open(endpoint)
	if err != nil {
		return nil, err
	}
	var i info
	if err := e.call(ctx, http.MethodGet, "/info", nil, &i); err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	var here unix.Utsname
	if err := unix.Uname(&here); err != nil {
		return nil, fmt.Errorf("read this machine's kernel: %w", err)
	}
	if why := i.elsewhere(unix.ByteSliceToString(here.Release[:])); why != "" {
		return nil, fmt.Errorf("%s: %s", endpoint, why)
	}
	e.Name = strings.TrimSpace("Docker " + i.ServerVersion)
	return e, nil
}

// info is what an engine says of itself.
type info struct {
	ServerVersion, OSType, KernelVersion, OperatingSystem string
	SecurityOptions                                       []string
}

// elsewhere says why containers of the engine are not where Nomad's tasks have to be, on a
// machine with that kernel; empty: they are.
func (i info) elsewhere(kernel string) string {
	for _, o := range i.SecurityOptions {
		if strings.HasPrefix(o, "name=rootless") {
			return "it is rootless: its containers are in a network of their own, which Nomad and Wadi don't reach"
		}
	}
	switch {
	case i.OSType != "" && i.OSType != "linux":
		return fmt.Sprintf("its containers are for %s", i.OSType)
	case i.KernelVersion != "" && i.KernelVersion != kernel:
		return fmt.Sprintf("its containers are on another machine, or a virtual one (%s), where Nomad's folders and ports are not", i.OperatingSystem)
	}
	return ""
}

// Open returns the engine at an endpoint, without asking it anything.
func Open(endpoint string) (*Engine, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "" {
		return nil, fmt.Errorf("DOCKER_HOST is %q, and no URL", endpoint)
	}
	network, address := "tcp", u.Host
	switch u.Scheme {
	case "unix":
		network, address = "unix", u.Path
	case "tcp", "http":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, fmt.Errorf("%s: it is on another machine, where Nomad's folders and ports are not", endpoint)
		}
	default:
		return nil, fmt.Errorf("%s: only unix:// and tcp:// on this machine work for Nomad", endpoint)
	}
	var d net.Dialer
	return &Engine{Endpoint: endpoint, base: "http://docker", client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, address)
			if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
				return nil, ErrAway
			}
			return c, err
		},
	}}}, nil
}

// call asks the engine, and decodes the answer into out, unless that is nil.
func (e *Engine) call(ctx context.Context, method, path string, body io.Reader, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, e.base+path, body)
	if err != nil {
		return err
	}
	res, err := e.client.Do(req)
	var wrapped *url.Error
	switch {
	case errors.As(err, &wrapped) && wrapped.Timeout():
		return fmt.Errorf("no answer within %v: %w", timeout, wrapped.Err)
	case errors.As(err, &wrapped):
		return wrapped.Err // Without the URL, which is none that a person could open.
	case err != nil:
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return answer(res.StatusCode, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("it is no Docker engine: %w", err)
	}
	return nil
}

// refused is an answer that is no success.
type refused struct {
	status  int
	message string
}

func (r *refused) Error() string { return fmt.Sprintf("status %d: %s", r.status, r.message) }

func answer(status int, data []byte) error {
	var said struct{ Message string }
	if json.Unmarshal(data, &said) != nil || said.Message == "" {
		said.Message = http.StatusText(status)
	}
	return &refused{status, said.Message}
}

func isStatus(err error, status int) bool {
	var r *refused
	return errors.As(err, &r) && r.status == status
}
