package diagnosis

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// The tables of a machine with little-endian words.
const (
	tcp4 = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000000000000 100 0 0 10 0
   1: 00000000:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0000000000000000 100 0 0 10 0
   2: nonsense
   3: 1F:0BB8 00000000:0000 0A
   4: 0100007F:1F91 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0000000000000000 100 0 0 10 0
   5: 0100007F:1F92 00000000:0000 0A a listener after a connection is not looked for
`
	tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000
   2: 0000000000000000FFFF00000100007F:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000
`
)

func TestParseListening(t *testing.T) {
	want := "127.0.0.1:8080 0.0.0.0:3000 [::1]:8080 [::]:3000 127.0.0.1:3001"
	var got []string
	for _, table := range []string{tcp4, tcp6} {
		for _, at := range parseListening(strings.NewReader(table)) {
			got = append(got, at.String())
		}
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}

func TestListening_ThisMachine(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("this machine can't listen on %s: %v", addr, err)
			continue
		}
		defer func() { _ = l.Close() }()
		all, err := listening()
		if err != nil {
			t.Skip("this system has no such tables:", err)
		}
		want := l.Addr().(*net.TCPAddr).AddrPort()
		if !slices.Contains(all, netip.AddrPortFrom(want.Addr().Unmap(), want.Port())) {
			t.Errorf("%s is not among %v", want, all)
		}
	}
}

// In a network of its own an instance sees its app's sockets without its own and
// Envoy's; in a host network only those at the app's port: any process may have the rest.
func TestOfApp(t *testing.T) {
	all := []netip.AddrPort{}
	for _, s := range []string{"127.0.0.1:8012", "[::]:9090", "127.0.0.2:19001", "0.0.0.0:25000", "127.0.0.1:5000", "[::1]:8080", "[::]:3000"} {
		all = append(all, netip.MustParseAddrPort(s))
	}
	others := []uint16{8012, 9090, 25000, 5000}
	if got := listed(ofApp(all, 8080, true, others)); got != "*:3000 and [::1]:8080" {
		t.Errorf("in a bridge network: %s", got)
	}
	if got := listed(ofApp(all, 8080, false, others)); got != "[::1]:8080" {
		t.Errorf("in a host network: %s", got)
	}
	if got := listed(all); got != "*:25000 and *:3000 and *:9090 and 4 more" {
		t.Errorf("many: %s", got)
	}
}
