package gateway

import (
	"testing"

	"github.com/wadi-run/wadi"
)

// Each hundredth of a percent is exactly one of ten thousand draws, in every split of two.
func TestRow_StepsAreExact(t *testing.T) {
	for weight := 1; weight < wadi.WeightAll; weight++ {
		r := newRow(wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{
			{Revision: "hello-00001", Weight: weight}, {Revision: "hello-00002", Weight: wadi.WeightAll - weight},
		}})
		if r.total != wadi.WeightAll {
			t.Fatalf("the weights %d and %d sum to %d", weight, wadi.WeightAll-weight, r.total)
		}
		// The draws at each border tell where all others go.
		got := [4]string{r.at(0), r.at(weight - 1), r.at(weight), r.at(wadi.WeightAll - 1)}
		if want := [4]string{"hello-00001", "hello-00001", "hello-00002", "hello-00002"}; got != want {
			t.Errorf("of %d and %d, the draws at the borders go to %v, want %v", weight, wadi.WeightAll-weight, got, want)
		}
	}
}
