package agent

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi/internal/consul"
)

// An agent reaches another one over the mesh, else at an address that is the other's: the
// loopback address of another machine is not, and the program that listens there would get
// its callers' tokens. In plain text a token goes no farther than its caller sent it.
func TestChannel_Address(t *testing.T) {
	const here, there = "boot/net:[1]", "boot/net:[2]"
	certified, none := make(chan struct{}), make(chan struct{})
	close(certified)
	for _, tt := range []struct {
		name   string
		peer   peer
		inMesh chan struct{}
		open   bool
		want   string
		err    string
	}{
		{"mesh", peer{URL: "http://127.0.0.1:4747", Mesh: "10.0.0.1:4750", Machine: there}, certified, false, "mesh://10.0.0.1:4750", ""},
		{"mesh before TLS", peer{URL: "https://10.0.0.1:4747", Mesh: "10.0.0.1:4750", Machine: there}, certified, true, "mesh://10.0.0.1:4750", ""},
		{"no certificate", peer{Name: "a", URL: "http://127.0.0.1:4747", Mesh: "10.0.0.1:4750", Machine: there}, none, true, "", "http.address"},
		{"the other does not say", peer{Name: "a", URL: "http://127.0.0.1:4747"}, certified, true, "", "127.0.0.1:4747"},
		{"same machine", peer{URL: "http://127.0.0.1:4747", Machine: here}, none, false, "http://127.0.0.1:4747", ""},
		{"same machine, TLS", peer{URL: "https://127.0.0.1:4747", Machine: here}, none, false, "https://127.0.0.1:4747", ""},
		{"same machine, not loopback", peer{URL: "http://10.0.0.1:4747", Machine: here}, none, false, "http://10.0.0.1:4747", ""},
		{"IPv6", peer{Name: "a", URL: "http://[::1]:4747", Machine: there}, none, true, "", "http.address"},
		{"localhost", peer{Name: "a", URL: "https://localhost:4747", Machine: there}, none, true, "", "http.address"},
		{"TLS", peer{URL: "https://10.0.0.1:4747", Machine: there}, none, false, "https://10.0.0.1:4747", ""},
		{"plain, as this one", peer{URL: "http://10.0.0.1:4747", Machine: there}, none, true, "http://10.0.0.1:4747", ""},
		{"plain, unlike this one", peer{Name: "a", URL: "http://10.0.0.1:4747", Machine: there}, none, false, "", "plain HTTP"},
		{"another scheme", peer{URL: "mesh://10.0.0.1:4747", Machine: here}, none, true, "", "can't be used"},
		{"no address", peer{}, certified, true, "", "can't be used"},
	} {
		c := &channel{inMesh: tt.inMesh, here: here, open: tt.open}
		got, err := c.address(tt.peer)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %q, %v, want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
	}
	if got, err := (&channel{inMesh: none}).address(peer{URL: "http://127.0.0.1:4747"}); err == nil {
		t.Errorf("the machines are not known: got %q", got)
	}
}

// An agent of an earlier version registers no URL.
func TestChannel_WithoutURL(t *testing.T) {
	c := &channel{inMesh: make(chan struct{})}
	if _, err := c.get(t.Context(), consul.Instance{ID: "wadi:old"}, "/", ""); err == nil || !strings.Contains(err.Error(), "no safe way") {
		t.Errorf("got %v", err)
	}
}
