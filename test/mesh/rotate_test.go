//go:build e2e

package mesh_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// The mesh gets a new root while callers go directly to an instance, through the activator
// to another one, and in at the gateway. No call fails, neither on old connections nor on
// new ones.
func TestRotation_OfTheRoot(t *testing.T) {
	t.Parallel()
	deploy(t, hello("rotate", options{initial: 1, min: 1})+
		hello("rotate-act", options{initial: 1, min: 1, scale: "burst_capacity = -1"}))
	waitDirect(t, callerA, "rotate")
	through := activated(t, "rotate-act")
	loads := []*harnesstest.Load{
		startLoad(t, callerA, "rotate", "/", 50*time.Millisecond, from("rotate-00001")),
		startLoad(t, callerB, "rotate-act", "/", 50*time.Millisecond, from("rotate-act-00001")),
		startOutside(t, "rotate", "/", 50*time.Millisecond, from("rotate-00001")),
	}
	for _, l := range loads {
		l.Wait(t, 50)
	}
	listeners := map[string]string{
		wadi.ServiceActivator: activatorAddr(t), "rotate": sidecarAddr(t, "rotate"), "rotate-act": sidecarAddr(t, "rotate-act"),
	}
	old := activeRoot(t)
	for name, addr := range listeners {
		must(t, name+" before", issuedBy(name, addr, old))
	}
	rotate(t)
	fresh := activeRoot(t)
	if fresh.Equal(old) {
		t.Fatal("got the same root after the change of its key")
	}
	for name, addr := range listeners {
		eventually(t, waitLong, func() error { return issuedBy(name, addr, fresh) })
	}
	// Many at once need new connections everywhere.
	var wg sync.WaitGroup
	for _, service := range []string{"rotate", "rotate-act"} {
		for _, c := range []*caller{callerA, callerB} {
			for range 10 {
				wg.Go(func() {
					res, err := c.Send(t, http.MethodGet, service, "/?sleep=500ms", nil, nil)
					if err != nil || res.Status != 200 {
						t.Errorf("%s calls %s afterwards: status %d, %v: %s", c.Name, service, res.Status, err, res.Body)
					}
				})
			}
		}
	}
	wg.Wait()
	for _, l := range loads {
		l.Wait(t, 50)
		l.WantAll(t, 20)
	}
	if got := activated(t, "rotate-act"); got < through+50 {
		t.Errorf("%g requests of rotate-act went through the activator, want all", got-through)
	}
}

// rotate lets Consul make a new root, by changing the size of its key.
func rotate(t *testing.T) {
	t.Helper()
	ca := stack.Consul.Connect()
	cfg, _, err := ca.CAGetConfig(nil)
	must(t, "read the CA's configuration", err)
	bits := 384
	if fmt.Sprint(cfg.Config["PrivateKeyBits"]) == "384" {
		bits = 256
	}
	cfg.Config["PrivateKeyType"], cfg.Config["PrivateKeyBits"] = "ec", bits
	_, err = ca.CASetConfig(cfg, nil)
	must(t, "set the CA's configuration", err)
}

// activeRoot is the root that signs now.
func activeRoot(t *testing.T) *x509.Certificate {
	t.Helper()
	roots, _, err := stack.Consul.Connect().CARoots(&consul.QueryOptions{RequireConsistent: true})
	must(t, "read roots", err)
	for _, r := range roots.Roots {
		if !r.Active {
			continue
		}
		block, _ := pem.Decode([]byte(r.RootCertPEM))
		cert, err := x509.ParseCertificate(block.Bytes)
		must(t, "parse root", err)
		return cert
	}
	t.Fatal("no root is active")
	return nil
}

// issuedBy returns an error unless a mesh listener's certificate was signed by a root
// itself, not through an older one.
func issuedBy(name, addr string, root *x509.Certificate) error {
	// The listener shows its certificate before it asks for the client's, which is missing.
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{InsecureSkipVerify: true, ServerName: name + ".default.dc1.internal"}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return fmt.Errorf("dial %s: %w", name, err)
	}
	defer conn.Close()
	leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if string(leaf.AuthorityKeyId) != string(root.SubjectKeyId) {
		return fmt.Errorf("%s shows a leaf with key ID %x of its authority, want %x", name, leaf.AuthorityKeyId, root.SubjectKeyId)
	}
	return leaf.CheckSignatureFrom(root)
}

// activatorAddr is the mesh listener of the agent.
func activatorAddr(t *testing.T) string {
	t.Helper()
	found, _, err := stack.Consul.Health().Connect(wadi.ServiceActivator, "", true, nil)
	must(t, "find the activator", err)
	if len(found) != 1 {
		t.Fatalf("got %d activators, want 1", len(found))
	}
	return addrOf(found[0])
}

// sidecarAddr is the address of the Envoy of a service's only instance.
func sidecarAddr(t *testing.T, service string) (addr string) {
	t.Helper()
	eventually(t, waitLong, func() error {
		found, _, err := stack.Consul.Health().Connect(service, "", true, nil)
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("%s has %d instances", service, len(found))
		}
		if err == nil {
			addr = addrOf(found[0])
		}
		return err
	})
	return addr
}

func addrOf(e *consul.ServiceEntry) string {
	host := e.Service.Address
	if host == "" {
		host = e.Node.Address
	}
	return net.JoinHostPort(host, fmt.Sprint(e.Service.Port))
}
