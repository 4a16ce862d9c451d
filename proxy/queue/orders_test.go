package queue_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

const proof = wadi.Proof("a-secret-of-the-revision")

// ordered sends the instance an order as an activator does, and returns its answer.
func (s *sidecar) ordered(order wadi.Order) (got wadi.OrderAnswer) {
	s.t.Helper()
	a := s.order(order, string(proof))
	if a.StatusCode != 200 || json.Unmarshal([]byte(a.text), &got) != nil {
		s.t.Fatalf("%s: %d %q", order, a.StatusCode, a.text)
	}
	return got
}

func (s *sidecar) order(order wadi.Order, proof string, header ...string) answer {
	return s.get(s.Addr(), "/", append([]string{wadi.HeaderProbe, "hello-00001", wadi.HeaderProxied, proof, wadi.HeaderOrder, string(order)}, header...)...)
}

func (s *sidecar) proxiedGet(path string) answer {
	return s.get(s.Addr(), path, wadi.HeaderService, "hello", wadi.HeaderProxied, string(proof))
}

func (s *sidecar) readiness() (mesh, probe int, statistics string) {
	_, h := s.stats("since=0")
	return s.get(s.MetricsAddr(), "/ready").StatusCode, s.get(s.Addr(), "/", wadi.HeaderProbe, "hello-00001").StatusCode, h.Get("Wadi-Ready")
}

func TestOrders_GoAndStay(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_PROOF_SHA256="+proof.Digest())
	long := make(chan answer, 1)
	go func() { long <- s.proxiedGet("/long") }()
	g.next(t)
	if got := s.ordered(wadi.OrderGo); got.Order != wadi.OrderGo || got.Requests != 1 {
		t.Errorf("ordered to go: %+v", got)
	}
	if mesh, probe, statistics := s.readiness(); mesh != 503 || probe != 503 || statistics != "true" {
		t.Errorf("about to go: /ready %d, probe %d, statistics %s", mesh, probe, statistics)
	}
	a := s.proxiedGet("/moved")
	if a.StatusCode != 421 || a.Header.Get(wadi.HeaderError) != "leaving" || a.Header.Get(wadi.HeaderInstance) != "" {
		t.Errorf("a request that others can take: %d %v", a.StatusCode, a.Header)
	}
	direct := make(chan answer, 1)
	go func() { direct <- s.get(s.Addr(), "/direct") }() // A caller that can't send it elsewhere is served.
	if path := g.next(t); path != "/direct" {
		t.Errorf("the app got %s", path)
	}
	if got := s.ordered(wadi.OrderGo); got.Requests != 2 || got.QuietMS > got.SinceMS {
		t.Errorf("with a latecomer: %+v", got)
	}
	close(g.leave)
	if a := <-direct; a.text != "done" || a.Header.Get(wadi.HeaderOrder) != "go" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := <-long; a.text != "done" {
		t.Errorf("%d %q: a request in flight is cut", a.StatusCode, a.text)
	}
	eventually(t, "nothing in flight", func() bool { return s.ordered(wadi.OrderGo).Requests == 0 })
	if got := s.ordered(wadi.OrderStay); got.Order != wadi.OrderStay || got.SinceMS != 0 {
		t.Errorf("ordered to stay: %+v", got)
	}
	if mesh, probe, _ := s.readiness(); mesh != 200 || probe != 200 {
		t.Errorf("it stays: /ready %d, probe %d", mesh, probe)
	}
	if a := s.proxiedGet("/"); a.text != "done" || a.Header.Get(wadi.HeaderOrder) != "" {
		t.Errorf("%d %q %v", a.StatusCode, a.text, a.Header)
	}
}

// A request that the activator may not have kept is not refused.
func TestOrders_LongBodiesAreServed(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("done")) }, "WADI_PROOF_SHA256="+proof.Digest())
	s.ordered(wadi.OrderGo)
	for body, want := range map[string]int{"short": 421, strings.Repeat("x", 16<<10): 421, strings.Repeat("x", 16<<10+1): 200} {
		a := s.do(t.Context(), http.MethodPost, s.Addr(), "/", body, wadi.HeaderService, "hello", wadi.HeaderProxied, string(proof))
		if a.StatusCode != want || a.Header.Get(wadi.HeaderOrder) != "go" {
			t.Errorf("%d bytes: %d, want %d; %v", len(body), a.StatusCode, want, a.Header)
		}
	}
}

// The last instance goes only if no request comes.
func TestOrders_GoIfIdle(t *testing.T) {
	g := newGate()
	s := start(t, g.ServeHTTP, "WADI_PROOF_SHA256="+proof.Digest(), `WADI_QUIET=["/health"]`)
	if got := s.ordered(wadi.OrderGoIfIdle); got.Order != wadi.OrderGoIfIdle {
		t.Fatalf("%+v", got)
	}
	if mesh, probe, _ := s.readiness(); mesh != 503 || probe != 200 {
		t.Errorf("/ready %d: callers' Envoys are to turn to activators; probe %d: and those are served", mesh, probe)
	}
	quiet := make(chan answer, 1)
	go func() { quiet <- s.proxiedGet("/health") }()
	g.next(t)
	if got := s.ordered(wadi.OrderGoIfIdle); got.Order != wadi.OrderGoIfIdle || got.Requests != 1 {
		t.Errorf("with a request that is no activity: %+v", got)
	}
	called := make(chan answer, 1)
	go func() { called <- s.proxiedGet("/") }()
	g.next(t)
	if mesh, _, _ := s.readiness(); mesh != 200 {
		t.Errorf("/ready %d though it was called", mesh)
	}
	if got := s.ordered(wadi.OrderGoIfIdle); got.Order != wadi.OrderStay {
		t.Errorf("while a request is in flight: %+v", got)
	}
	close(g.leave)
	if a := <-called; a.text != "done" {
		t.Errorf("%d %q", a.StatusCode, a.text)
	}
	<-quiet
	eventually(t, "idle", func() bool { return s.ordered(wadi.OrderGoIfIdle).Order == wadi.OrderGoIfIdle })
}

func TestOrders_OfAnybodyElse(t *testing.T) {
	plain := start(t, func(http.ResponseWriter, *http.Request) {}, "WADI_PROOF_SHA256="+proof.Digest())
	for _, claim := range []string{"", "1", "another-secret", proof.Digest()} {
		if a := plain.order(wadi.OrderGo, claim); a.StatusCode != http.StatusForbidden {
			t.Errorf("proof %q: %d", claim, a.StatusCode)
		}
	}
	envoy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer envoy.Close()
	meshed := start(t, func(http.ResponseWriter, *http.Request) {}, "WADI_ENVOY="+envoy.Addr().String())
	for _, caller := range []string{"web", "wadi-gateway", "hello"} {
		if a := meshed.order(wadi.OrderGo, "1", clientCert, byEnvoy+caller); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", caller, a.StatusCode)
		}
	}
	if a := meshed.order(wadi.OrderGo, "1"); a.StatusCode != http.StatusForbidden {
		t.Errorf("without a proof: %d", a.StatusCode)
	}
	for _, s := range []*sidecar{plain, meshed} {
		if mesh, _, _ := s.readiness(); mesh != 200 {
			t.Errorf("/ready %d", mesh)
		}
	}
	if a := meshed.order(wadi.OrderGo, "1", clientCert, byEnvoy+"wadi-activator"); a.StatusCode != 200 {
		t.Errorf("an activator: %d", a.StatusCode)
	}
}
