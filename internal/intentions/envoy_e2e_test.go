//go:build e2e

package intentions_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/mesh"
	"github.com/wadi-run/wadi/internal/toolchain"
)

const (
	service  = "hello"
	seenPath = "Seen-Path"
	patience = 3 * time.Minute
)

// stage is a Consul with one service behind a real Envoy, and its callers.
type stage struct {
	t       *testing.T
	client  *api.Client
	addr    string // Envoy's public listener.
	callers map[string]*mesh.Source
	set     int // Number of applied sets of intentions.
}

func newStage(t *testing.T, defaultPolicy string) *stage {
	t.Helper()
	tools, _ := toolchain.Locate(t.Context())
	if tools.Envoy == "" || tools.Consul == "" {
		t.Fatal("no envoy or no consul; `make tools` builds them")
	}
	agent := consultest.StartAgent(t, false, fmt.Sprintf("default_intention_policy = %q", defaultPolicy))
	client, err := api.NewClient(&api.Config{Address: agent.URL})
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set(seenPath, r.RequestURI) }))
	t.Cleanup(app.Close)
	ports, err := freeport.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, client: client, addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), callers: map[string]*mesh.Source{}}
	s.write(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: service, Protocol: "http"})
	if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: service, Address: "127.0.0.1", Port: app.Listener.Addr().(*net.TCPAddr).Port,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{Port: ports[0]}},
	}); err != nil {
		t.Fatal(err)
	}
	agent.StartSidecar(tools.Envoy, service)
	for _, name := range []string{"web", "api", "stranger", marker} {
		src := &mesh.Source{API: func() *api.Client { return client }, Services: []string{name}, Log: hclog.NewNullLogger()}
		done := make(chan error, 1)
		go func() { done <- src.Run(t.Context()) }()
		t.Cleanup(func() { <-done })
		select {
		case <-src.Ready():
		case <-time.After(patience):
			t.Fatal("no leaf for " + name)
		}
		s.callers[name] = src
	}
	return s
}

// marker is a caller that shows which intentions Envoy has.
const marker = "marker"

// apply makes the given entries the only ones, and waits until Envoy has them.
func (s *stage) apply(entries ...*api.ServiceIntentionsConfigEntry) []*api.ServiceIntentionsConfigEntry {
	s.t.Helper()
	s.set++
	path := fmt.Sprintf("/marker-%d", s.set)
	mark := &api.SourceIntention{Name: marker, Permissions: []*api.IntentionPermission{
		{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathExact: path}},
		{Action: "deny", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}},
	}}
	all := map[string]*api.ServiceIntentionsConfigEntry{service: {Name: service}}
	for _, e := range entries {
		all[e.Name] = e
	}
	own := *all[service]
	own.Sources = append([]*api.SourceIntention{mark}, own.Sources...)
	all[service] = &own
	if all["*"] == nil {
		if _, err := s.client.ConfigEntries().Delete(api.ServiceIntentions, "*", nil); err != nil {
			s.t.Fatal(err)
		}
	}
	var out []*api.ServiceIntentionsConfigEntry
	for _, e := range all {
		e.Kind = api.ServiceIntentions
		s.write(e)
		out = append(out, e)
	}
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		// The new path passes, and a path that only the old intentions allow does not.
		if s.status(path) == 200 && s.status("/other") == 403 {
			return out
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatal("envoy does not follow")
		}
	}
}

// status sends a request over a new connection, as the marker does.
func (s *stage) status(path string) int {
	c, err := s.callers[marker].Dial(s.t.Context(), s.addr, service)
	if err != nil {
		return 0
	}
	defer func() { _ = c.Close() }()
	status, _ := exchange(c, bufio.NewReader(c), "GET "+path+" HTTP/1.1\r\nHost: hello\r\n\r\n")
	return status
}

func (s *stage) write(e api.ConfigEntry) {
	s.t.Helper()
	if _, _, err := s.client.ConfigEntries().Set(e, nil); err != nil {
		s.t.Fatal(err)
	}
}

// session is a caller's connection, which is remade when Envoy closes it.
type session struct {
	s      *stage
	caller string
	conn   net.Conn
	reader *bufio.Reader
}

func (c *session) close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.conn = nil
}

// do sends a raw request and returns Envoy's status and the path that the app saw.
func (c *session) do(raw string) (int, string) {
	c.s.t.Helper()
	for range 2 {
		if c.conn == nil {
			conn, err := c.s.callers[c.caller].Dial(c.s.t.Context(), c.s.addr, service)
			if err != nil {
				c.s.t.Fatal(err)
			}
			c.conn, c.reader = conn, bufio.NewReader(conn)
		}
		status, path := exchange(c.conn, c.reader, raw)
		if status != 200 && status != 403 {
			c.close()
		}
		if status != 0 {
			return status, path
		}
	}
	return 0, ""
}

func exchange(c net.Conn, r *bufio.Reader, raw string) (int, string) {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, raw); err != nil {
		return 0, ""
	}
	method, _, _ := strings.Cut(raw, " ")
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return 0, ""
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get(seenPath)
}
