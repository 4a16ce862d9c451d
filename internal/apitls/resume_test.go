package apitls_test

import (
	"crypto/tls"
	"testing"

	"github.com/wadi-run/wadi/internal/apitls/certtest"
)

// A session goes on over a renewed certificate, and not without its client's authority.
func TestServerConfig_Resumes(t *testing.T) {
	ca, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
	f := ca.Files(t, t.TempDir(), 2, "wadi.example.com")
	f.VerifyClient = true
	s := load(t, f)
	client := s.ClientConfig("wadi.example.com")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	config := s.ServerConfig()
	first := func() (tls.ConnectionState, error) { return shake(t, config, client) }
	for _, want := range []bool{false, true} {
		state, err := first()
		if err != nil || state.DidResume != want {
			t.Fatalf("resumed %v, want %v: %v", state.DidResume, want, err)
		}
	}
	next := ca.Files(t, t.TempDir(), 3, "wadi.example.com")
	next.VerifyClient = true
	if err := s.Change(next); err != nil {
		t.Fatal(err)
	}
	if state, err := first(); err != nil || !state.DidResume {
		t.Errorf("a renewed certificate: resumed %v, %v", state.DidResume, err)
	}
	own := load(t, f) // A client with the certificate of the authority that goes.
	client = own.ClientConfig("wadi.example.com")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	client.VerifyConnection = nil
	if _, err := first(); err != nil {
		t.Fatal(err)
	}
	gone := next
	gone.CA = other.Files(t, t.TempDir(), 4, "wadi.example.com").CA
	if err := s.Change(gone); err != nil {
		t.Fatal(err)
	}
	if state, err := first(); err == nil {
		t.Errorf("a client of an authority that is gone: resumed %v", state.DidResume)
	}
}
