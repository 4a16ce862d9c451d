package slot

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An internal test: the commands would need root, and a machine to change.
func TestPurge(t *testing.T) {
	const nat = `*nat
:PREROUTING ACCEPT [0:0]
:CNI-0a0a - [0:0]
:CNI-DN-0a0a - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.213.1.2/32 -m comment --comment "name: \"nomad\" id: \"aaaa\"" -j CNI-0a0a
-A CNI-0a0a -d 10.213.1.0/24 -j ACCEPT
-A CNI-DN-0a0a -p tcp -m tcp --dport 20000 -j DNAT --to-destination 10.213.1.2:8080
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat id: \"aaaa\"" -j CNI-DN-0a0a
`
	const filter = `*filter
:FORWARD ACCEPT [0:0]
:CNI-FORWARD - [0:0]
:NOMAD-ADMIN - [0:0]
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j NOMAD-ADMIN
-A NOMAD-ADMIN -d 10.213.1.0/24 -o wadi-dev1 -j ACCEPT
`
	stranger := "-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment \"dnat id: \\\"bbbb\\\"\" -j CNI-DN-0b0b\n"
	s := &Slot{n: 1}
	for _, tt := range []struct {
		name  string
		saved string
		mayGo bool
		want  string
	}{
		{"nothing", "*nat\n:PREROUTING ACCEPT [0:0]\n", true, ""},
		{"the last one removes the shared chains", nat, true, `-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-D POSTROUTING -s 10.213.1.2/32 -m comment --comment "name: \"nomad\" id: \"aaaa\"" -j CNI-0a0a
-F CNI-0a0a
-F CNI-DN-0a0a
-F CNI-HOSTPORT-DNAT
-X CNI-0a0a
-X CNI-DN-0a0a
-X CNI-HOSTPORT-DNAT
`},
		{"they stay when they were there before", nat, false, `-D POSTROUTING -s 10.213.1.2/32 -m comment --comment "name: \"nomad\" id: \"aaaa\"" -j CNI-0a0a
-D CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat id: \"aaaa\"" -j CNI-DN-0a0a
-F CNI-0a0a
-F CNI-DN-0a0a
-X CNI-0a0a
-X CNI-DN-0a0a
`},
		{"they stay while another cluster uses them", nat + stranger, true, `-D POSTROUTING -s 10.213.1.2/32 -m comment --comment "name: \"nomad\" id: \"aaaa\"" -j CNI-0a0a
-D CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat id: \"aaaa\"" -j CNI-DN-0a0a
-F CNI-0a0a
-F CNI-DN-0a0a
-X CNI-0a0a
-X CNI-DN-0a0a
`},
		{"the filter table", filter, true, `-D FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-F CNI-FORWARD
-F NOMAD-ADMIN
-X CNI-FORWARD
-X NOMAD-ADMIN
`},
		{"another cluster's bridge", strings.ReplaceAll(strings.ReplaceAll(filter, "wadi-dev1", "wadi-dev11"), "10.213.1.", "10.213.11."), true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := purge(tt.saved, s.owns, func(string) bool { return tt.mayGo })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
