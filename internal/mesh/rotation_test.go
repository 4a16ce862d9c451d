package mesh_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/internal/mesh"
)

// cross is c's certificate signed by another authority.
func (c *ca) cross(t *testing.T, by *ca) *x509.Certificate {
	t.Helper()
	tmpl := *c.cert
	tmpl.SerialNumber, tmpl.AuthorityKeyId = serial(t), nil
	return sign(t, &tmpl, by.cert, c.key, by.key)
}

// hand makes Consul hand out a leaf whose chain has another certificate.
func (c *consul) hand(service string, signer *ca, chain ...*x509.Certificate) {
	cert, key := signer.leaf(c.t, service)
	for _, one := range chain {
		cert = append(cert, encode("CERTIFICATE", one.Raw)...)
	}
	c.leaves[service] = api.LeafCert{Service: service, CertPEM: string(cert), PrivateKeyPEM: string(key)}
}

// changeTo is set with a leaf of the service that is cross-signed, if chain is given.
func (c *consul) changeTo(service string, signer *ca, chain []*x509.Certificate, roots ...*ca) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	c.signer, c.roots, c.leaves = signer, roots, map[string]api.LeafCert{}
	c.hand(service, signer, chain...)
	close(c.changed)
	c.changed = make(chan struct{})
}

// A peer that does not know a new root yet is dialled with a leaf that it knows, and is
// shown one, as long as the old leaf is good.
func TestRotation_NotCrossSigned(t *testing.T) {
	old, fresh := newCA(t), newCA(t)
	late := newConsul(t, old) // It learns of no change.
	hello := source(t, late, "hello")
	addr, _ := serve(t, hello.ServerConfig())
	cons := newConsul(t, old)
	activator := settling(t, cons, time.Hour)
	own, _ := serve(t, activator.ServerConfig())

	cons.changeTo("wadi-activator", fresh, nil, old, fresh)
	trusts(t, activator, fresh) // It has the new roots; its leaf comes at the same time.
	for range 20 {
		if _, err := try(t.Context(), activator, addr, "hello"); err != nil {
			t.Fatalf("a peer that is late was dialled: %v", err)
		}
		if _, err := try(t.Context(), hello, own, "wadi-activator"); err != nil {
			t.Fatalf("a peer that is late dials: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // It may come a little later, too.
	}
	// Without the old root there is no reason for a delay.
	cons.changeTo("wadi-activator", fresh, nil, fresh)
	shows(t, own, fresh)
}

// A leaf that the old root vouches for through the new one is used at once, and so is a
// leaf that is renewed because of its age.
func TestRotation_CrossSigned(t *testing.T) {
	old, fresh := newCA(t), newCA(t)
	cons := newConsul(t, old)
	activator := settling(t, cons, time.Hour)
	own, _ := serve(t, activator.ServerConfig())
	before := shown(t, own)
	cons.changeTo("wadi-activator", old, nil, old)
	until(t, "a leaf of the same root is used", func() bool { return !shown(t, own).Equal(before) })
	cons.changeTo("wadi-activator", fresh, []*x509.Certificate{fresh.cross(t, old)}, old, fresh)
	shows(t, own, fresh)
}

// The delay is bounded.
func TestRotation_NotCrossSigned_Ends(t *testing.T) {
	old, fresh := newCA(t), newCA(t)
	cons := newConsul(t, old)
	activator := settling(t, cons, 100*time.Millisecond)
	own, _ := serve(t, activator.ServerConfig())
	cons.changeTo("wadi-activator", fresh, nil, old, fresh)
	shows(t, own, fresh)
}

// trusts waits until s knows a root.
func trusts(t *testing.T, s *mesh.Source, root *ca) {
	t.Helper()
	addr, _ := serve(t, s.ServerConfig())
	cert, key := root.leaf(t, "web")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the root is known", func() bool {
		return dialOnce(addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}) == nil
	})
}

// shown is the leaf that a server presents.
func shown(t *testing.T, addr string) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0]
}

// shows waits until a server presents a leaf that root has signed.
func shows(t *testing.T, addr string, root *ca) {
	t.Helper()
	until(t, "the new root's leaf is used", func() bool { return shown(t, addr).CheckSignatureFrom(root.cert) == nil })
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
