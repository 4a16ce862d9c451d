package agent

import (
	"strings"
	"testing"
)

// An agent reaches the leader over the mesh, else at an address that is the leader's: the
// loopback address of another machine is not, and the program that listens there would get
// its callers' tokens.
func TestAddressOf(t *testing.T) {
	const here, there = "boot/net:[1]", "boot/net:[2]"
	for _, tt := range []struct {
		name   string
		leader leaderInfo
		inMesh bool
		want   string
		err    string
	}{
		{"mesh", leaderInfo{URL: "http://127.0.0.1:4747", Mesh: "10.0.0.1:4750", Machine: there}, true, "https://10.0.0.1:4750", ""},
		{"no certificate", leaderInfo{Name: "a", URL: "http://127.0.0.1:4747", Mesh: "10.0.0.1:4750", Machine: there}, false, "", "http.address"},
		{"the leader does not say", leaderInfo{Name: "a", URL: "http://127.0.0.1:4747"}, true, "", "127.0.0.1:4747"},
		{"same machine", leaderInfo{URL: "http://127.0.0.1:4747", Machine: here}, false, "http://127.0.0.1:4747", ""},
		{"IPv6", leaderInfo{URL: "http://[::1]:4747", Machine: there}, false, "", "http.address"},
		{"localhost", leaderInfo{URL: "http://localhost:4747", Machine: there}, false, "", "http.address"},
		{"reachable", leaderInfo{URL: "http://10.0.0.1:4747", Machine: there}, false, "http://10.0.0.1:4747", ""},
		{"no address", leaderInfo{}, true, "", "can't be used"},
	} {
		got, err := addressOf(tt.leader, tt.inMesh, here)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %q, %v, want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
	}
	if got, err := addressOf(leaderInfo{URL: "http://127.0.0.1:4747"}, false, ""); err == nil {
		t.Errorf("the machines are not known: got %q", got)
	}
}
