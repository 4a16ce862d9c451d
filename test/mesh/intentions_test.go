//go:build e2e

package mesh_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/test/harness"
)

// A service with intentions admits the callers it names and Wadi's own parts, and no
// others: neither to an instance nor to wake one.
func TestIntentions_OfTheSpec(t *testing.T) {
	t.Parallel()
	deploy(t, hello("guarded", options{more: "intentions {\n    allow = [\"caller-a\"]\n  }"}))
	wantDenied(t, callerB, "guarded")
	must(t, "call of somebody else", either(403)(callerB.Get(t, "guarded", "/")))
	if n, err := stack.Count(t.Context(), "guarded-00001"); n != 0 || err != nil || len(stack.Wakes(t, "guarded-00001")) != 0 {
		t.Errorf("after a call that was refused: count %d (%v), %d wakes; want none", n, err, len(stack.Wakes(t, "guarded-00001")))
	}
	wantFrom(t, callerA.Get(t, "guarded", "/"), "guarded-00001")
	waitDirect(t, callerA, "guarded")
	must(t, "call of somebody else", either(403)(callerB.Get(t, "guarded", "/")))
	res, err := stack.Agent.Get(t.Context(), "guarded", "/")
	must(t, "call through the gateway", err)
	wantFrom(t, res, "guarded-00001")
}

// wantDenied waits until a service's intentions refuse a caller. It wakes no instance.
func wantDenied(t *testing.T, c *caller, service string) {
	t.Helper()
	eventually(t, waitLong, func() error { return either(http.StatusForbidden)(c.Get(t, service, quietPath)) })
}

// setIntentions writes a service's intentions as their owner does.
func setIntentions(t *testing.T, service string, sources ...*consul.SourceIntention) {
	t.Helper()
	_, _, err := stack.Consul.ConfigEntries().Set(&consul.ServiceIntentionsConfigEntry{
		Kind: consul.ServiceIntentions, Name: service, Sources: sources,
	}, nil)
	must(t, "write intentions", err)
	t.Cleanup(func() { _, _ = stack.Consul.ConfigEntries().Delete(consul.ServiceIntentions, service, nil) })
}

func source(name string, action consul.IntentionAction) *consul.SourceIntention {
	return &consul.SourceIntention{Name: name, Action: action}
}

// attempt is a call that intentions allow or refuse.
type attempt struct {
	from         *caller // Nil: the gateway.
	method, path string
	header       string // Lines, each with its end.
	want         int    // 0: any status, but the same cold and warm.
}

func (a attempt) String() string {
	from := "the gateway"
	if a.from != nil {
		from = a.from.Name
	}
	return fmt.Sprintf("%s %s %q from %s", a.method, a.path, a.header, from)
}

// send sends it with an unnormalised path, and returns the status.
func (a attempt) send(t *testing.T, service string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	var conn net.Conn
	var err error
	if a.from == nil {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", stack.Agent.Gateway)
	} else {
		conn, err = a.from.Dial(ctx, strings.TrimPrefix(a.from.URL(service, ""), "http://"))
	}
	must(t, a.String(), err)
	defer conn.Close()
	must(t, a.String(), conn.SetDeadline(time.Now().Add(requestTimeout)))
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s.%s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n",
		a.method, a.path, service, harness.Domain, a.header)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, a.String(), err)
	defer res.Body.Close()
	return res.StatusCode
}

// Rules on method, path and header have the same result at an instance's Envoy and, at
// zero, in the activator.
func TestIntentions_L7ColdAndWarm(t *testing.T) {
	t.Parallel()
	deploy(t, hello("ruled", options{}))
	http1 := func(p consul.IntentionHTTPPermission) *consul.IntentionHTTPPermission { return &p }
	setIntentions(t, "ruled",
		&consul.SourceIntention{Name: "caller-a", Permissions: []*consul.IntentionPermission{
			{Action: consul.IntentionActionDeny, HTTP: http1(consul.IntentionHTTPPermission{PathPrefix: "/admin"})},
			{Action: consul.IntentionActionAllow, HTTP: http1(consul.IntentionHTTPPermission{PathPrefix: "/", Methods: []string{"GET"}})},
			{Action: consul.IntentionActionAllow, HTTP: http1(consul.IntentionHTTPPermission{
				PathExact: "/post", Methods: []string{"POST"}, Header: []consul.IntentionHTTPHeaderPermission{{Name: "x-key", Exact: "1"}},
			})},
			{Action: consul.IntentionActionDeny, HTTP: http1(consul.IntentionHTTPPermission{PathPrefix: "/"})},
		}},
		source("wadi-activator", consul.IntentionActionAllow), source("*", consul.IntentionActionDeny))
	attempts := []attempt{
		{callerB, "GET", "/", "", 403},
		{nil, "GET", "/", "", 403},
		{callerA, "POST", "/", "", 403},
		{callerA, "GET", "/admin/x", "", 403},
		{callerA, "GET", "/adm%69n/x", "", 0},
		{callerA, "GET", "//admin", "", 0},
		{callerA, "GET", "/a/../admin", "", 0},
		{callerA, "GET", "/a/%2e%2e/admin", "", 0},
		{callerA, "POST", "/post", "", 403},
		{callerA, "POST", "/post", "X-Key: 2\r\n", 403},
		{callerA, "POST", "/post?q", "X-Key: 1\r\n", 200},
		{callerA, "GET", "/ADMIN", "", 200},
	}
	wantDenied(t, callerB, "ruled")
	cold := map[int]int{}
	for i, a := range attempts {
		had := len(stack.Wakes(t, "ruled-00001"))
		cold[i] = a.send(t, "ruled")
		if a.want != 0 && cold[i] != a.want {
			t.Errorf("cold: %v: got status %d, want %d", a, cold[i], a.want)
		}
		if woken := len(stack.Wakes(t, "ruled-00001")) > had; woken != (cold[i] != 403) {
			t.Errorf("cold: %v: status %d and woken %t", a, cold[i], woken)
		}
		if cold[i] != 403 {
			toZero(t, "ruled-00001")
		}
	}
	wantFrom(t, callerA.Get(t, "ruled", "/"), "ruled-00001")
	waitDirect(t, callerA, "ruled")
	for i, a := range attempts {
		got := a.send(t, "ruled")
		if got == cold[i] || a.want == 0 && cold[i] == 403 {
			continue
		}
		t.Errorf("%v: got status %d warm and %d cold", a, got, cold[i])
	}
	t.Logf("cold: %v", cold)
}

// A caller is allowed, refused and allowed again under traffic: while the service runs,
// and at zero, where only allowed callers wake it.
func TestIntentions_ChangeUnderTraffic(t *testing.T) {
	t.Parallel()
	deploy(t, hello("toggled", options{}))
	activator := source("wadi-activator", consul.IntentionActionAllow)
	deny := func() { setIntentions(t, "toggled", activator, source("caller-a", consul.IntentionActionDeny)) }
	allow := func() { setIntentions(t, "toggled", activator, source("caller-a", consul.IntentionActionAllow)) }
	deny()
	wantDenied(t, callerA, "toggled")
	for _, state := range []string{"cold", "cold again"} {
		had := len(stack.Wakes(t, "toggled-00001"))
		expect(t, state+": denied", 403, deny)
		if n := len(stack.Wakes(t, "toggled-00001")); n != had {
			t.Errorf("%s: %d wakes by calls that were refused", state, n-had)
		}
		expect(t, state+": allowed", 200, allow) // The first answers come when an instance is ready.
		waitDirect(t, callerA, "toggled")
		expect(t, "warm: denied", 403, deny)
		expect(t, "warm: allowed", 200, allow)
		expect(t, "warm: denied again", 403, deny)
		toZero(t, "toggled-00001")
	}
}

// expect makes a change under traffic, and fails the test if calls are answered by the old
// rules after the first one by the new ones. Envoy's idle connections pass one more call
// each by the old rules.
func expect(t *testing.T, what string, status int, change func()) {
	t.Helper()
	change()
	began := time.Now()
	traffic := startLoad(t, callerA, "toggled", "/", 50*time.Millisecond, func(harness.Response) error { return nil })
	eventually(t, waitLong, func() error {
		if res := callerA.Get(t, "toggled", "/"); res.Status != status {
			return fmt.Errorf("%s: got status %d, want %d: %s", what, res.Status, status, res.Body)
		}
		return nil
	})
	took := time.Since(began)
	const calls, idle = 60, 6
	old := 0
	for i := range calls {
		res := callerA.Get(t, "toggled", "/")
		if res.Status == status {
			continue
		}
		if old++; old > idle || i > calls/2 {
			t.Fatalf("%s: call %d after the first that was right, %d wrong: got status %d, want %d: %s; %v", what, i, old, res.Status, status, res.Body, traffic)
		}
	}
	traffic.Stop()
	t.Logf("%s: in force after %v, %d old answers later; %v", what, took.Round(time.Millisecond), old, traffic)
}
