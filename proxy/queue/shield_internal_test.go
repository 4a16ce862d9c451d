package queue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Only Envoy's port, the metrics port and what is mapped on purpose are open; never
// the app's port or the queue-proxy's, whatever is mapped.
func TestShield_Rules(t *testing.T) {
	c := Config{
		Listen: "127.0.0.1:8012", Admin: "127.0.0.1:8022", Metrics: "0.0.0.0:9090", Target: "127.0.0.1:8080", Envoy: "127.0.0.1:25000",
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
	if diff := cmp.Diff(begin+"\t\ttcp dport { 9090, 25000, 9100, 9200 } accept\n\t\tudp dport { 9100, 9200 } accept\n\t}\n}\n", newShield(c).rules()); diff != "" {
		t.Errorf("with ports of its own (-want +got):\n%s", diff)
	}
	c.Mapped = []uint16{9090, 25000}
	if diff := cmp.Diff(begin+"\t\ttcp dport { 9090, 25000 } accept\n\t}\n}\n", newShield(c).rules()); diff != "" {
		t.Errorf("without (-want +got):\n%s", diff)
	}
}

// Rules are given to nft in a network that is surely not the host's, and in no other.
func TestShield_Raise(t *testing.T) {
	const network, another, none = "/proc/self/ns/net", "/proc/self/ns/mnt", "/proc/self/ns/none"
	const record = "#!/bin/sh\n{ echo \"$@\"; while read -r line; do echo \"$line\"; done; } >%s\n"
	for _, tt := range []struct {
		name   string
		at     networks
		nft    string // Empty: there is none.
		called bool
		want   string // Empty: it is up.
	}{
		{"another than the host's", networks{network, another, ""}, record, true, ""},
		{"Nomad's", networks{network, none, network}, record, true, ""},
		{"not Nomad's", networks{network, none, another}, record, false, "its network can't be told from the host's, as process 1 may not be looked at; run the queue-proxy with raw_exec, as root"},
		{"the host's, by whatever name", networks{network, network, network}, record, false, "its network is that of the first process it sees, perhaps the host's; run the queue-proxy with raw_exec, as root"},
		{"the host's is unknown", networks{network, none, none}, record, false, "its network can't be told from the host's, as process 1 may not be looked at; run the queue-proxy with raw_exec, as root"},
		{"its own is unknown", networks{none, network, none}, record, false, "its network can't be told from the host's; run the queue-proxy with raw_exec, as root"},
		{"no nft", networks{network, another, ""}, "", false, "there is no nft on the PATH; install nftables where the queue-proxy runs"},
		{"not root", networks{network, another, ""}, record + "echo 'Operation not permitted (you must be root)' >&2; exit 1", true,
			"nft: exit status 1: Operation not permitted (you must be root); it takes root or CAP_NET_ADMIN, and nf_tables in the kernel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir)
			told := filepath.Join(dir, "told")
			if tt.nft != "" {
				if err := os.WriteFile(filepath.Join(dir, "nft"), []byte(strings.Replace(tt.nft, "%s", told, 1)), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			s := newShield(Config{Envoy: "127.0.0.1:25000", Metrics: "0.0.0.0:9090"})
			got := ""
			if err := s.raise(t.Context(), tt.at); err != nil {
				got = err.Error()
			}
			if got != tt.want || len(got) > maxTrouble {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			given, err := os.ReadFile(told)
			if tt.called != (err == nil) {
				t.Fatalf("nft was called: %t, want %t", err == nil, tt.called)
			}
			if want := "-f -\ntable inet wadi\n"; tt.called && (!strings.HasPrefix(string(given), want) || !strings.Contains(string(given), "policy drop")) {
				t.Errorf("nft was given %q", given)
			}
		})
	}
}
