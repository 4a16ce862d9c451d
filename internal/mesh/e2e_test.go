//go:build e2e

package mesh_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/mesh"
	"github.com/wadi-run/wadi/internal/toolchain"
)

func realConsul(t *testing.T) (*consultest.Agent, *api.Client) {
	t.Helper()
	agent := consultest.StartAgent(t, false)
	client, err := api.NewClient(&api.Config{Address: agent.URL})
	if err != nil {
		t.Fatal(err)
	}
	return agent, client
}

func realSource(t *testing.T, client *api.Client, services ...string) *mesh.Source {
	t.Helper()
	s := &mesh.Source{API: func() *api.Client { return client }, Services: services, Log: hclog.New(&hclog.LoggerOptions{Output: t.Output()})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-s.Ready():
	case <-time.After(3 * time.Minute):
		t.Fatal("not ready")
	}
	return s
}

// A new root is as disruptive as a restart: leaves are renewed up to half a minute later,
// and no dial may fail meanwhile.
func TestE2E_RootRotation(t *testing.T) {
	_, client := realConsul(t)
	activator, hello := realSource(t, client), realSource(t, client, "hello")
	addr, _ := serve(t, hello.ServerConfig())
	open, err := activator.Dial(t.Context(), addr, "hello")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	before := served(t, hello, addr)
	conf, _, err := client.Connect().CAGetConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	conf.Config["PrivateKeyBits"] = 384
	if _, err := client.Connect().CASetConfig(conf, nil); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(3 * time.Minute); served(t, hello, addr).SerialNumber.Cmp(before.SerialNumber) == 0; {
		if _, err := try(t.Context(), activator, addr, "hello"); err != nil {
			t.Fatalf("during rotation: %v", err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the leaf was not renewed")
		}
	}
	if _, err := try(t.Context(), activator, addr, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := ping(open); err != nil {
		t.Fatalf("the open connection was dropped: %v", err)
	}
}

// behindEnvoy runs hello with an Envoy in front of it, and an activator that both sides
// can dial: hello at inbound, and the activator from hello at upstream.
func behindEnvoy(t *testing.T) (client *api.Client, activator *mesh.Source, inbound, upstream string) {
	t.Helper()
	tools, _ := toolchain.Locate(t.Context())
	if tools.Envoy == "" {
		t.Fatal("no envoy")
	}
	agent, client := realConsul(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "hello") }))
	t.Cleanup(app.Close)
	activator = realSource(t, client)

	ln, err := tls.Listen("tcp", "127.0.0.1:0", activator.ServerConfig())
	if err != nil {
		t.Fatal(err)
	}
	us := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := mesh.PeerID(*r.TLS)
		_, _ = fmt.Fprint(w, "you are ", caller, err)
	})}
	go func() { _ = us.Serve(ln) }()
	t.Cleanup(func() { _ = us.Close() })

	ports, err := freeport.Ports(2)
	if err != nil {
		t.Fatal(err)
	}
	inbound, upstream = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	for _, e := range []string{"hello", "wadi-activator"} {
		if _, _, err := client.ConfigEntries().Set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: e, Protocol: "http"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*api.AgentServiceRegistration{
		{Name: "wadi-activator", Port: port(ln.Addr().String()), Address: "127.0.0.1", Connect: &api.AgentServiceConnect{Native: true}},
		{Name: "hello", Port: port(app.Listener.Addr().String()), Address: "127.0.0.1", Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Port: ports[0],
			Proxy: &api.AgentServiceConnectProxyConfig{
				Upstreams: []api.Upstream{{DestinationName: "wadi-activator", LocalBindPort: ports[1]}},
			},
		}}},
	} {
		if err := client.Agent().ServiceRegister(r); err != nil {
			t.Fatal(err)
		}
	}
	agent.StartSidecar(tools.Envoy, "hello")
	return client, activator, inbound, upstream
}

// fromUs calls hello through its Envoy, and toUs calls the activator through that Envoy.
func fromUs(ctx context.Context, activator *mesh.Source, inbound string) error {
	c, err := activator.Dial(ctx, inbound, "hello")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return get(c, "hello")
}

func toUs(upstream string) error {
	c, err := net.Dial("tcp", upstream)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return get(c, "you are hello<nil>")
}

// Toward a real Envoy, and from one.
func TestE2E_Envoy(t *testing.T) {
	_, activator, addr, upstream := behindEnvoy(t)
	retry(t, func() error { return fromUs(t.Context(), activator, addr) })
	c, err := activator.Dial(t.Context(), addr, "hello")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	state := c.(*tls.Conn).ConnectionState()
	t.Logf("to envoy: resumed=%v protocol=%q version=%s", state.DidResume, state.NegotiatedProtocol, tls.VersionName(state.Version))
	if !state.DidResume || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("a second dial: resumed=%v protocol=%q", state.DidResume, state.NegotiatedProtocol)
	}
	if _, err := activator.Dial(t.Context(), addr, "other"); err == nil {
		t.Error("hello's envoy was taken for other's")
	}
	retry(t, func() error { return toUs(upstream) })
}

// Consul changes its root twice without signing the new one by the old one. No call in
// either direction fails: the source uses no leaf whose root an Envoy may not know.
func TestE2E_RootRotation_Forced(t *testing.T) {
	client, activator, inbound, upstream := behindEnvoy(t)
	retry(t, func() error { return fromUs(t.Context(), activator, inbound) })
	retry(t, func() error { return toUs(upstream) })
	dialled := func() string { // The presented leaf, by its issuer.
		c, err := tls.Dial("tcp", activatorAddr(t, client), &tls.Config{InsecureSkipVerify: true, ServerName: "wadi-activator"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return string(c.ConnectionState().PeerCertificates[0].AuthorityKeyId)
	}
	var last string
	check := func() {
		if err := fromUs(t.Context(), activator, inbound); err != nil {
			t.Fatalf("to an Envoy: %v", err)
		}
		if err := toUs(upstream); err != nil {
			t.Fatalf("from an Envoy: %v", err)
		}
	}
	begun := dialled()
	for i, bits := range []int{384, 256} {
		force(t, client, bits)
		for until := time.Now().Add(3 * time.Second); i == 0 && time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
			check()
		}
	}
	deadline := time.Now().Add(3 * time.Minute)
	for last = dialled(); last == begun; last = dialled() { // Consul spreads renewals over half a minute.
		if time.Now().After(deadline) {
			t.Fatal("the leaf was not renewed")
		}
		check()
		time.Sleep(20 * time.Millisecond)
	}
	check()
}

// force makes a new root that the old one has not signed.
func force(t *testing.T, client *api.Client, bits int) {
	t.Helper()
	conf, _, err := client.Connect().CAGetConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	conf.Config["PrivateKeyType"], conf.Config["PrivateKeyBits"], conf.ForceWithoutCrossSigning = "ec", bits, true
	if _, err := client.Connect().CASetConfig(conf, nil); err != nil {
		t.Fatal(err)
	}
}

// activatorAddr is where the activator is registered.
func activatorAddr(t *testing.T, client *api.Client) string {
	t.Helper()
	found, _, err := client.Health().Connect("wadi-activator", "", false, nil)
	if err != nil || len(found) != 1 {
		t.Fatalf("found %d activators, %v", len(found), err)
	}
	return fmt.Sprintf("%s:%d", found[0].Service.Address, found[0].Service.Port)
}

// get requests / over c and compares the body.
func get(c net.Conn, want string) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: hello\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != want {
		err = fmt.Errorf("got %d %q, want %q", resp.StatusCode, body, want)
	}
	return err
}

// retry repeats f until it succeeds.
func retry(t *testing.T, f func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(3 * time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

func port(addr string) int {
	_, p, _ := net.SplitHostPort(addr)
	var n int
	_, _ = fmt.Sscan(p, &n)
	return n
}
