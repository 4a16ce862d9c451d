package firewall

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Only Envoy's port, the metrics port and what is mapped on purpose are open; never
// the app's port or the queue-proxy's, whatever is mapped.
func TestFirewall_Rules(t *testing.T) {
	p := Ports{
		Mesh: []uint16{25000, 9090}, Closed: []uint16{8080, 8012, 8022},
		Mapped: []uint16{25000, 9200, 9090, 9100, 8080, 8012, 8022, 9100, 0},
	}
	const begin = `table inet wadi
delete table inet wadi
table inet wadi {
	chain input {
		type filter hook input priority 0; policy drop;
		iifname "lo" accept
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp flags & (fin | syn | rst | ack) != syn accept
`
	if diff := cmp.Diff(begin+"\t\ttcp dport { 9090, 25000, 9100, 9200 } accept\n\t\tudp dport { 9100, 9200 } accept\n\t}\n}\n", p.rules()); diff != "" {
		t.Errorf("with ports of its own (-want +got):\n%s", diff)
	}
	p.Mapped = []uint16{9090, 25000}
	if diff := cmp.Diff(begin+"\t\ttcp dport { 9090, 25000 } accept\n\t}\n}\n", p.rules()); diff != "" {
		t.Errorf("without (-want +got):\n%s", diff)
	}
}

// Rules are given to nft in a network that is surely not the host's, and in no other.
func TestFirewall_Raise(t *testing.T) {
	const network, another, none = "/proc/self/ns/net", "/proc/self/ns/mnt", "/proc/self/ns/none"
	const record = "#!/bin/sh\n{ echo \"$@\"; while read -r line; do echo \"$line\"; done; } >%s\n"
	for _, tt := range []struct {
		name   string
		at     Namespaces
		nft    string // Empty: there is none.
		called bool
		want   string // Empty: it is up.
	}{
		{"another than the host's", Namespaces{network, another, ""}, record, true, ""},
		{"Nomad's", Namespaces{network, none, network}, record, true, ""},
		{"not Nomad's", Namespaces{network, none, another}, record, false, "its network can't be distinguished from the host's, as that of process 1 can't be read; run the queue-proxy with raw_exec, as root"},
		{"the host's, by whatever name", Namespaces{network, network, network}, record, false, "its network is that of the first process it sees, perhaps the host's; run the queue-proxy with raw_exec, as root"},
		{"the host's is unknown", Namespaces{network, none, none}, record, false, "its network can't be distinguished from the host's, as that of process 1 can't be read; run the queue-proxy with raw_exec, as root"},
		{"its own is unknown", Namespaces{none, network, none}, record, false, "its network can't be distinguished from the host's; run the queue-proxy with raw_exec, as root"},
		{"no nft", Namespaces{network, another, ""}, "", false, "there is no nft on the PATH; install nftables where the queue-proxy runs"},
		{"not root", Namespaces{network, another, ""}, record + "echo 'Operation not permitted (you must be root)' >&2; exit 1", true,
			"nft: exit status 1: Operation not permitted (you must be root); it takes root or CAP_NET_ADMIN, and nf_tables in the kernel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir)
			given := filepath.Join(dir, "given")
			if tt.nft != "" {
				if err := os.WriteFile(filepath.Join(dir, "nft"), []byte(strings.Replace(tt.nft, "%s", given, 1)), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			s := Ports{Mesh: []uint16{25000, 9090}}
			got := ""
			if err := s.Raise(t.Context(), tt.at); err != nil {
				got = err.Error()
			}
			if got != tt.want || len(got) > 200 {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			script, err := os.ReadFile(given)
			if tt.called != (err == nil) {
				t.Fatalf("nft was called: %t, want %t", err == nil, tt.called)
			}
			if want := "-f -\ntable inet wadi\n"; tt.called && (!strings.HasPrefix(string(script), want) || !strings.Contains(string(script), "policy drop")) {
				t.Errorf("nft was given %q", script)
			}
		})
	}
}
