package mesh_test

import (
	"math"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// Each hundredth of a percent is written exactly, and the legs sum to what Consul wants: it
// rounds weights to hundredths.
func TestRender_StepsAreExact(t *testing.T) {
	for weight := 1; weight < wadi.WeightAll; weight++ {
		r := route(wadi.RouteTarget{Revision: "hello-00001", Weight: weight}, wadi.RouteTarget{Revision: "hello-00002", Weight: wadi.WeightAll - weight})
		var scaled []int
		for _, e := range mesh.Render(r) {
			if s, ok := e.(*api.ServiceSplitterConfigEntry); ok {
				for _, leg := range s.Splits {
					scaled = append(scaled, int(math.Round(float64(leg.Weight*100))))
				}
			}
		}
		if len(scaled) != 2 || scaled[0] != weight || scaled[1] != wadi.WeightAll-weight {
			t.Fatalf("%d and %d are written as %v hundredths", weight, wadi.WeightAll-weight, scaled)
		}
	}
}
