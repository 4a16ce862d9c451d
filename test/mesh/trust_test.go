//go:build e2e

package mesh_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/mesh"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// forgedCert is a certificate header with which a caller pretends to be another one.
const forgedCert = `By=spiffe://x.consul/ns/default/dc/dc1/svc/seen;Hash=00;Subject="CN=\"a\",b;c";URI=spiffe://x.consul/ns/default/dc/dc1/svc/forged`

// An allowed caller with its own certificate but without an Envoy can't hide its load from
// the autoscaler: only activators may mark a request as already counted.
func TestTrust_CallerCannotHideItsLoad(t *testing.T) {
	t.Parallel()
	deploy(t, hello("counted", options{more: "intentions {\n    allow = [\"caller-a\"]\n  }"}))
	// Through an activator, which wakes it.
	wantFrom(t, callerA.Get(t, "counted", "/"), "counted-00001")
	certs := certsOf(t, "caller-a")
	begun, proxied := harnesstest.BegunAt(t, portsOf(t, "counted")[wadi.PortMetrics], 1)
	if proxied < 1 {
		t.Errorf("after a call by way of an activator: %g of %g requests are counted there, want them all", proxied, begun)
	}
	const calls = 20
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			conn := dialInstance(t, certs, "counted")
			defer conn.Close()
			uri := "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/wadi-activator"
			res := ask(t, conn, "/?sleep=1s", "Wadi-Proxied: 1\r\nX-Forwarded-Client-Cert: By="+uri+";URI="+uri+"\r\n")
			harnesstest.WantStatus(t, res, 200)
		})
	}
	wg.Wait()
	begun2, proxied2 := harnesstest.BegunAt(t, portsOf(t, "counted")[wadi.PortMetrics], begun+calls)
	if got := (begun2 - proxied2) - (begun - proxied); got < calls {
		t.Errorf("%g of %d requests are counted as the caller's own, want all: %g have begun, %g of them at an activator", got, calls, begun2, proxied2)
	}
}

// An app gets its caller's identity in X-Forwarded-Client-Cert. It is the one that the
// instance's own Envoy has verified, at a warm instance and at a woken one, whatever the
// request claims.
func TestTrust_ClientCertColdAndWarm(t *testing.T) {
	t.Parallel()
	deploy(t, hello("seen", options{more: `visibility = "public"`})+hello("seen-h2c", options{more: `protocol = "h2c"`}))
	claims := http.Header{"X-Forwarded-Client-Cert": {forgedCert, forgedCert}, "X_forwarded_client_cert": {"forged"}}
	see := func(service, state string) string {
		t.Helper()
		what := state + " call of " + service
		res, err := callerA.Send(t, http.MethodGet, service, "/?headers=1", claims.Clone(), nil)
		must(t, what, err)
		wantFrom(t, res, service+"-00001")
		return wantCert(t, what, res.Body, service, "caller-a")
	}
	for _, service := range []string{"seen", "seen-h2c"} {
		cold := see(service, "cold")
		if begun, proxied := harnesstest.BegunAt(t, portsOf(t, service)[wadi.PortMetrics], 1); begun != proxied {
			t.Errorf("%s was woken, and %g of %g requests are taken for the activator's", service, proxied, begun)
		}
		waitDirect(t, callerA, service)
		if warm := see(service, "warm"); cold != warm {
			t.Errorf("%s: woken for the call the app saw\n%s\nand warm\n%s", service, cold, warm)
		}
	}

	warm := see("seen", "warm")
	conn := dialInstance(t, certsOf(t, "caller-a"), "seen")
	defer conn.Close()
	res := ask(t, conn, "/?headers=1", "X-Forwarded-Client-Cert: "+forgedCert+"\r\nWadi-Proxied: 1\r\nx_forwarded_client_cert: forged\r\n")
	harnesstest.WantStatus(t, res, 200)
	if direct := wantCert(t, "with its own certificate", res.Body, "seen", "caller-a"); field(direct, "URI") != field(warm, "URI") {
		t.Errorf("with its own certificate the app saw %s", direct)
	}
	res = ask(t, conn, "/?headers=1", "X-Forwarded-Client-Cert: "+forgedCert+";Subject=\"\r\n")
	harnesstest.WantStatus(t, res, 200)
	if strings.Contains(strings.ToLower(res.Body), "client-cert") {
		t.Errorf("of what can't be read the app saw:\n%s", res.Body)
	}

	for _, state := range []string{"warm", "cold"} {
		if state == "cold" {
			toZero(t, "seen-00001")
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL("seen", "/?headers=1"), nil)
		must(t, "make a request", err)
		req.Header = claims.Clone()
		res, err := harness.Do(stack.Client(t), req)
		must(t, "call from outside", err)
		wantFrom(t, res, "seen-00001")
		if body := strings.ToLower(res.Body); strings.Contains(body, "client-cert") || strings.Contains(body, "client_cert") {
			t.Errorf("%s, from outside: the app saw a caller's certificate:\n%s", state, res.Body)
		}
	}
}

// wantCert returns the certificate header that an app got, which must be the only one.
func wantCert(t *testing.T, what, seen, callee, caller string) string {
	t.Helper()
	var certs []string
	for line := range strings.Lines(seen) {
		if name, value, _ := strings.Cut(line, ":"); strings.Contains(strings.ToLower(strings.ReplaceAll(name, "_", "-")), "client-cert") {
			certs = append(certs, strings.TrimSpace(value))
		}
	}
	if len(certs) != 1 || !strings.HasSuffix(field(certs[0], "URI"), "/svc/"+caller) || !strings.HasSuffix(field(certs[0], "By"), "/svc/"+callee) ||
		strings.Contains(certs[0], "forged") {
		t.Errorf("%s: the app saw these certificates, want the one of %s:\n%s", what, caller, strings.Join(certs, "\n"))
		return ""
	}
	return certs[0]
}

// field of a certificate that has no separators within its values.
func field(cert, name string) string {
	for pair := range strings.SplitSeq(cert, ";") {
		if k, v, _ := strings.Cut(pair, "="); k == name {
			return v
		}
	}
	return ""
}

// certsOf are the certificates of a service, as anyone with its write right gets them.
func certsOf(t *testing.T, service string) *mesh.Source {
	t.Helper()
	s := &mesh.Source{API: func() *consul.Client { return stack.Consul }, Services: []string{service}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) }) // It returns when ctx ends.
	t.Cleanup(func() { cancel(); wg.Wait() })
	select {
	case <-s.Ready():
	case <-time.After(waitLong):
		t.Fatal("no certificates of " + service)
	}
	return s
}

// portsOf are the ports of a service's only instance, by label.
func portsOf(t *testing.T, service string) map[string]string {
	t.Helper()
	ports := map[string]string{}
	eventually(t, waitLong, func() error {
		allocs, err := stack.Allocs(t.Context(), service+"-00001")
		if err != nil {
			return err
		}
		for _, a := range allocs {
			if a.ClientStatus != nomad.AllocClientStatusRunning || a.DesiredStatus != nomad.AllocDesiredStatusRun {
				continue
			}
			full, _, err := stack.Nomad.Allocations().Info(a.ID, nil)
			if err != nil {
				return err
			}
			for _, p := range full.AllocatedResources.Shared.Ports {
				ports[p.Label] = net.JoinHostPort(p.HostIP, fmt.Sprint(p.Value))
			}
			return nil
		}
		return fmt.Errorf("no instance of %s", service)
	})
	return ports
}

// dialInstance connects to the Envoy of a service's only instance.
func dialInstance(t *testing.T, s *mesh.Source, service string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	conn, err := s.Dial(ctx, portsOf(t, service)[wadi.PortEnvoy(service)], service)
	if err != nil {
		t.Error(err)
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(requestTimeout))
	return conn
}

// ask sends a request with the lines of a header.
func ask(t *testing.T, conn net.Conn, path, header string) (out harness.Response) {
	t.Helper()
	if conn == nil {
		return out
	}
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", path, header)
	if err != nil {
		t.Error(err)
		return out
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return out
	}
	defer res.Body.Close()
	var body strings.Builder
	if _, err := bufio.NewReader(res.Body).WriteTo(&body); err != nil {
		t.Error(err)
	}
	return harness.Response{Status: res.StatusCode, Header: res.Header, Body: body.String()}
}

// Intentions for Wadi's own parts do not help a caller with a certificate of their names:
// nothing is woken for it.
func TestTrust_NoCallerActsAsWadi(t *testing.T) {
	t.Parallel()
	deploy(t, hello("shut", options{more: "visibility = \"public\"\n  intentions {\n    allow = [\"caller-a\"]\n  }"}))
	listeners, _, err := stack.Consul.Catalog().Service(wadi.ServiceActivator, "", nil)
	if err != nil || len(listeners) == 0 {
		t.Fatalf("%d activators, %v", len(listeners), err)
	}
	addr := net.JoinHostPort(cmp.Or(listeners[0].ServiceAddress, listeners[0].Address), fmt.Sprint(listeners[0].ServicePort))
	for _, name := range append(wadi.Activators(), wadi.ServiceGateway, "caller-b", "caller-a") {
		want := http.StatusForbidden
		if name == "caller-a" {
			want = http.StatusOK
			if n := len(stack.Wakes(t, "shut-00001")); n > 0 {
				t.Errorf("it was woken %d times for those who may not call it", n)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
		conn, err := certsOf(t, name).Dial(ctx, addr, wadi.ServiceActivator)
		cancel()
		must(t, "dial as "+name, err)
		_ = conn.SetDeadline(time.Now().Add(requestTimeout))
		res := ask(t, conn, "/", "Wadi-Service: shut\r\nWadi-Revision: shut-00001\r\n")
		_ = conn.Close()
		if res.Status != want {
			t.Errorf("%s got %d, want %d:\n%v\n%s", name, res.Status, want, res.Header, res.Body)
		}
	}
}
