package registry_test

import (
	"net/netip"
	"testing"

	"github.com/wadi-run/wadi/internal/registry"
)

func TestCheckAddress(t *testing.T) {
	const own, led = true, false
	for _, tt := range []struct {
		host, address string
		ownOK, ledOK  bool
	}{
		{"r.example.com", "93.184.216.34", true, true},
		{"r.example.com", "2606:2800:220:1::1", true, true},
		{"r.example.com", "10.1.2.3", true, false},
		{"r.example.com", "172.31.0.1", true, false},
		{"r.example.com", "192.168.1.1", true, false},
		{"r.example.com", "100.64.1.1", true, false},
		{"r.example.com", "fd12::1", true, false},
		{"r.example.com", "::ffff:10.1.2.3", true, false},
		{"r.example.com", "64:ff9b::10.1.2.3", true, false},
		{"r.example.com", "64:ff9b::93.184.216.34", true, true},
		{"r.example.com", "64:ff9b:1::1", true, false},
		{"r.example.com", "2002:0a01:0203::1", true, false},
		{"r.example.com", "::10.1.2.3", true, false},
		{"r.example.com", "2001:0:1::1", true, false}, // Teredo.
		{"127.0.0.1", "127.0.0.1", true, false},
		{"localhost", "::1", true, false},
		{"a.localhost", "127.0.0.1", true, false},
		{"127.0.0.1", "::ffff:127.0.0.1", true, false},
		{"r.example.com", "127.0.0.1", false, false}, // A name of somebody's DNS.
		{"r.example.com", "::1", false, false},
		{"r.example.com", "::ffff:127.0.0.1", false, false},
		{"r.example.com", "64:ff9b::127.0.0.1", false, false},
		{"localhost", "169.254.169.254", false, false}, // Whatever it is called.
		{"169.254.169.254", "169.254.169.254", false, false},
		{"r.example.com", "::ffff:169.254.169.254", false, false},
		{"r.example.com", "64:ff9b::169.254.169.254", false, false},
		{"r.example.com", "2002:a9fe:a9fe::1", false, false},
		{"r.example.com", "::169.254.169.254", false, false},
		{"r.example.com", "::ffff:0:169.254.169.254", false, false},
		{"r.example.com", "fd00:ec2::254", false, false},
		{"r.example.com", "100.100.100.200", false, false},
		{"r.example.com", "168.63.129.16", false, false},
		{"r.example.com", "fe80::1%eth0", false, false},
		{"0.0.0.0", "0.0.0.0", false, false},
		{"::", "::", false, false},
		{"r.example.com", "0.1.2.3", false, false},
		{"r.example.com", "224.0.0.1", false, false},
		{"r.example.com", "ff02::1", false, false},
		{"r.example.com", "255.255.255.255", false, false},
	} {
		a := netip.MustParseAddr(tt.address)
		for asOwn, want := range map[bool]bool{own: tt.ownOK, led: tt.ledOK} {
			if err := registry.CheckAddress(registry.Settings{}, tt.host, a, asOwn); (err == nil) != want {
				t.Errorf("%s at %s, named by the image %v: %v, want allowed %v", tt.host, tt.address, asOwn, err, want)
			}
		}
	}
}

// A token service at the registry's own host and port may be written with the port.
func TestIsOwn(t *testing.T) {
	for _, tt := range []struct {
		image, hostport string
		plain, want     bool
	}{
		{"r.example.com/a", "r.example.com:443", false, true},
		{"r.example.com/a", "R.example.com:443", false, true},
		{"r.example.com/a", "r.example.com:80", false, false},
		{"r.example.com/a", "r.example.com:80", true, true},
		{"r.example.com/a", "r.example.com:8443", false, false},
		{"r.example.com:443/a", "r.example.com:443", false, true},
		{"r.example.com:5000/a", "r.example.com:443", false, false},
		{"r.example.com:5000/a", "r.example.com:5000", true, true},
		{"r.example.com:5000/a", "x.r.example.com:5000", true, false},
		{"[fd00::1]/a", "[fd00::1]:443", false, true},
		{"[fd00::1]:5000/a", "[fd00::1]:5000", false, true},
		{"nginx", "index.docker.io:443", false, true},
		{"nginx", "auth.docker.io:443", false, false},
	} {
		if got := registry.IsOwn(tt.image, tt.hostport, tt.plain); got != tt.want {
			t.Errorf("%s, %s, plain %v: %v", tt.image, tt.hostport, tt.plain, got)
		}
	}
}

func TestCheckAddress_Allowed(t *testing.T) {
	s := registry.Settings{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("169.254.10.0/24"), netip.MustParsePrefix("fd00::/8")}}
	for address, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::10.1.2.3": true, "169.254.10.1": true, "fd00:ec2::254": true,
		"169.254.169.254": false, "192.168.1.1": false, "127.0.0.1": false,
	} {
		if err := registry.CheckAddress(s, "r.example.com", netip.MustParseAddr(address), false); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", address, err, want)
		}
	}
}
