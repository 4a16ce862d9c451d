//go:build e2e

package acme_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// claim deploys a service at zero that claims domains, which lead to an agent.
func claim(t *testing.T, service string, agent int, domains ...string) {
	t.Helper()
	var quoted []string
	for _, d := range domains {
		authority.DNS.AddDNSARecord(d, []string{hosts[agent]})
		quoted = append(quoted, fmt.Sprintf("%q", d))
	}
	stack.Deploy(t, harnesstest.Hello(service, "min = 0\n    initial = 0", "domains = ["+strings.Join(quoted, ", ")+"]"))
}

// condition is what the status of a service says about a domain.
func condition(ctx context.Context, service, domain string) (c wadi.Condition, err error) {
	s, err := stack.Agent.Client.Service(ctx, service)
	if err != nil {
		return c, err
	}
	for _, c := range s.Status.Conditions {
		if c.Type == control.ConditionCertificate+domain {
			return c, nil
		}
	}
	return c, fmt.Errorf("no condition about %s in %+v", domain, s.Status.Conditions)
}

// wait waits until the condition has a reason, and returns it.
func wait(t *testing.T, service, domain, reason string) (c wadi.Condition) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() (err error) {
		if c, err = condition(t.Context(), service, domain); err == nil && c.Reason != reason {
			err = fmt.Errorf("%s is %+v, want %s", domain, c, reason)
		}
		return err
	})
	return c
}

// handshake is the state of a connection to an agent's gateway over TLS.
func handshake(ctx context.Context, agent int, name string, protocols ...string) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: authority.Roots(), NextProtos: protocols}}
	c, err := d.DialContext(ctx, "tcp", address(agent, 1))
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = c.Close() }() // It was only for the handshake.
	return c.(*tls.Conn).ConnectionState(), nil
}

// served waits until both agents have a certificate for a domain that clients trust, other
// than one, and returns its serial number.
func served(t *testing.T, domain, other string) (serial string) {
	t.Helper()
	for i := range agents {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			s, err := handshake(t.Context(), i, domain)
			if err != nil {
				return fmt.Errorf("agent %d: %w", i+1, err)
			}
			if serial = s.PeerCertificates[0].SerialNumber.String(); serial == other {
				return fmt.Errorf("agent %d still has the certificate %s of %s", i+1, other, domain)
			}
			return nil
		})
	}
	return serial
}

// Both domains of a service get a certificate by one order each, whichever agent the
// authority asks, and both agents serve it; requests get through to the app.
func TestACME_Obtained(t *testing.T) {
	claim(t, "shop", 0, "one.example.com")
	claim(t, "store", 1, "two.example.com")
	for service, domain := range map[string]string{"shop": "one.example.com", "store": "two.example.com"} {
		served(t, domain, "")
		if c := wait(t, service, domain, string(wadi.DomainIssued)); !c.OK || !strings.Contains(c.Message, "renewed from") {
			t.Errorf("got %+v", c)
		}
		if n := authority.Orders(domain); n != 1 {
			t.Errorf("%s was ordered %d times", domain, n)
		}
	}
	for i := range agents {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Roots()}, ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address(i, 1))
			}}
		t.Cleanup(tr.CloseIdleConnections)
		_, err := harnesstest.Getting(&http.Client{Transport: tr}, "https://one.example.com/")(t.Context())
		harnesstest.Must(t, fmt.Sprintf("ask the app through agent %d", i+1), err)
	}
	t.Run("secrets", testSecrets)
	t.Run("own path", testOwnPath)
}

// No private key is in Consul as it is, nor in a log.
func testSecrets(t *testing.T) {
	pairs, _, err := stack.Consul.KV().List("wadi/", (&consul.QueryOptions{}).WithContext(t.Context()))
	harnesstest.Must(t, "read Consul", err)
	kinds := map[string]int{}
	for _, p := range pairs {
		kinds[strings.Split(p.Key, "/")[1]]++
		if bytes.Contains(p.Value, []byte("PRIVATE KEY")) {
			t.Errorf("%s has a private key", p.Key)
		}
	}
	if kinds["certificate"] != 2 || kinds["order"] != 2 || kinds["account"] != 1 || kinds["challenge"] != 0 {
		t.Errorf("stored: %v", kinds)
	}
	for _, a := range agents {
		log, err := os.ReadFile(a.LogFile)
		harnesstest.Must(t, "read a log", err)
		for _, secret := range []string{"PRIVATE KEY", "aes256gcm"} {
			if bytes.Contains(log, []byte(secret)) {
				t.Errorf("the log of %s has %q", a.Name, secret)
			}
		}
	}
}

// A thousand handshakes with invented names, as a client's and as an authority's, and as
// many requests, order nothing and get nothing.
func TestACME_InventedNames(t *testing.T) {
	claim(t, "busy", 0, "busy.example.com")
	serial := served(t, "busy.example.com", "")
	before := authority.Orders("")
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for n := range 100 {
				name := fmt.Sprintf("x%d-%d.example.com", worker, n)
				var protocols []string
				if n%2 == 1 {
					protocols = []string{"acme-tls/1"}
				}
				if _, err := handshake(t.Context(), n%len(agents), name, protocols...); err == nil {
					t.Errorf("%s has a certificate", name)
				}
				res, err := ask(t.Context(), n%len(agents), name, "/.well-known/acme-challenge/"+strings.Repeat("a", 43))
				if err != nil || res.Status != http.StatusNotFound {
					t.Errorf("%s: status %d, %v", name, res.Status, err)
				}
			}
		})
	}
	wg.Wait()
	if n := authority.Orders("") - before; n != 0 {
		t.Errorf("%d orders", n)
	}
	if got := served(t, "busy.example.com", ""); got != serial {
		t.Errorf("the certificate of a claimed domain is %s, it was %s", got, serial)
	}
}

// testOwnPath: below the path of challenges the app answers what is not Wadi's.
func testOwnPath(t *testing.T) {
	res, err := ask(t.Context(), 1, "one.example.com", "/.well-known/acme-challenge/"+strings.Repeat("b", 43))
	if err != nil || res.Status != http.StatusOK {
		t.Errorf("status %d, %v: %s", res.Status, err, res.Body)
	}
}

// ask sends a request to an agent's plain gateway.
func ask(ctx context.Context, agent int, host, path string) (harness.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(agent, 0)+path, nil)
	if err != nil {
		return harness.Response{}, err
	}
	req.Host = host
	return harness.Do(http.DefaultClient, req)
}

// What the operator's folder has is served, and never ordered.
func TestACME_Folder(t *testing.T) {
	claim(t, "folder", 0, folderDomain)
	if c := wait(t, "folder", folderDomain, string(wadi.DomainFolder)); !c.OK {
		t.Errorf("got %+v", c)
	}
	for i := range agents {
		d := tls.Dialer{Config: &tls.Config{ServerName: folderDomain, InsecureSkipVerify: true}}
		c, err := d.DialContext(t.Context(), "tcp", address(i, 1))
		harnesstest.Must(t, "dial", err)
		if n := c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(); n != 4711 {
			t.Errorf("agent %d serves the certificate %d", i+1, n)
		}
		_ = c.Close() // It was only for the handshake.
	}
	if n := authority.Orders(folderDomain); n != 0 {
		t.Errorf("it was ordered %d times", n)
	}
}

// Why there is no certificate is in the status, with the next try and what to do; so it is
// in what the doctor finds. Others get theirs.
func TestACME_Refused(t *testing.T) {
	authority.Refuse("limited.example.com", http.StatusTooManyRequests, "rateLimited", "too many certificates already issued", 2*time.Hour)
	claim(t, "limited", 0, "limited.example.com", "good.example.com")
	authority.DNS.AddDNSARecord("lost.example.com", []string{"127.9.9.9"})
	stack.Deploy(t, harnesstest.Hello("lost", "min = 0\n    initial = 0", `domains = ["lost.example.com"]`))
	for _, tt := range []struct{ service, domain, reason, text string }{
		{"limited", "limited.example.com", wadi.DomainLimited, "too many certificates already issued; the next try is at "},
		{"lost", "lost.example.com", wadi.DomainUnreachable, "let lost.example.com lead to the gateway"},
	} {
		if c := wait(t, tt.service, tt.domain, tt.reason); c.OK || !strings.Contains(c.Message, tt.text) {
			t.Errorf("got %+v", c)
		}
	}
	served(t, "good.example.com", "")
	report, err := stack.Agent.Client.Doctor(t.Context())
	harnesstest.Must(t, "ask the doctor", err)
	if text := fmt.Sprintf("%+v", report); !strings.Contains(text, "without a certificate, as the last attempt failed (RateLimited: 1, Unreachable: 1)") {
		t.Errorf("the doctor says %s", text)
	}
	if n := authority.Orders("lost.example.com"); n != 1 {
		t.Errorf("lost.example.com was ordered %d times", n)
	}
}

// Agents that are started again while the authority is away serve what is stored. With the
// other challenge in their configuration the authority, which has forgotten the account,
// checks by handshakes, at either agent. Certificates of a short life are renewed by one of
// them; what can't be renewed is served on, and the status says why.
func TestACME_RestartAndRenewal(t *testing.T) {
	claim(t, "kept", 1, "kept.example.com")
	before := served(t, "kept.example.com", "")
	authority.End()
	for i, a := range agents {
		harnesstest.Must(t, "stop an agent", a.Stop(t.Context()))
		harnesstest.Must(t, "configure it", os.WriteFile(strings.TrimSuffix(a.Config, ".hcl")+"-extra.hcl", []byte(gateway(i, "tls-alpn-01")), 0o600))
		harnesstest.Must(t, "start it", a.Start(t.Context()))
		harnesstest.Must(t, "wait for it", a.WaitLeader(t.Context()))
	}
	if got := served(t, "kept.example.com", ""); got != before {
		t.Errorf("after the restart it is the certificate %s, before it was %s", got, before)
	}

	authority.SetValidity(36 * time.Second)
	harnesstest.Must(t, "start the authority again", authority.Begin())
	claim(t, "brief", 0, "brief.example.com")
	claim(t, "stuck", 1, "stuck.example.com")
	first, stuck := served(t, "brief.example.com", ""), served(t, "stuck.example.com", "")
	authority.Refuse("stuck.example.com", http.StatusForbidden, "caa", "CAA record for stuck.example.com prevents issuance", 0)
	if c := wait(t, "stuck", "stuck.example.com", "RenewalFailed"); !c.OK || !strings.Contains(c.Message, "CAA") {
		t.Errorf("got %+v", c)
	} else if s, err := handshake(t.Context(), 0, "stuck.example.com"); err != nil || s.PeerCertificates[0].SerialNumber.String() != stuck {
		t.Errorf("the old certificate is not served: %v", err)
	}
	served(t, "brief.example.com", first)
	if n := authority.Orders("kept.example.com"); n != 1 {
		t.Errorf("kept.example.com was ordered %d times", n)
	}
	if n := authority.Orders("stuck.example.com"); n != 1 {
		t.Errorf("stuck.example.com was ordered %d times", n)
	}
}

// A deleted service leaves its certificate for a while, marked, and no order follows.
func TestACME_ServiceDeleted(t *testing.T) {
	claim(t, "passing", 0, "passing.example.com")
	served(t, "passing.example.com", "")
	stack.Remove(t, "passing")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		p, _, err := stack.Consul.KV().Get("wadi/order/passing.example.com", (&consul.QueryOptions{}).WithContext(t.Context()))
		if err == nil && (p == nil || !bytes.Contains(p.Value, []byte(`"unclaimed":`))) {
			err = fmt.Errorf("it is not marked: %s", value(p))
		}
		return err
	})
	if n := authority.Orders("passing.example.com"); n != 1 {
		t.Errorf("it was ordered %d times", n)
	}
}

func value(p *consul.KVPair) string {
	if p == nil {
		return "there is no key"
	}
	return string(p.Value)
}
