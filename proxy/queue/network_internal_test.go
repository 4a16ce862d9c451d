package queue

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/proxy/queue/firewall"
)

// The firewall opens Envoy's and the metrics port and what is mapped, and never the
// app's or the queue-proxy's own.
func TestConfig_Ports(t *testing.T) {
	c := Config{
		Listen: "127.0.0.1:8012", Admin: "127.0.0.1:8022", Metrics: "0.0.0.0:9090", Target: "127.0.0.1:8080", Envoy: "127.0.0.1:25000",
		Mapped: []uint16{25000, 9200},
	}
	want := firewall.Ports{Mesh: []uint16{25000, 9090}, Mapped: []uint16{25000, 9200}, Closed: []uint16{8080, 8012, 8022}}
	if diff := cmp.Diff(want, c.ports()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
