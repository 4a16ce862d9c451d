package wadi_test

import (
	"testing"

	"github.com/wadi-run/wadi"
)

func TestRoute_Main(t *testing.T) {
	for _, tt := range []struct {
		name    string
		targets []wadi.RouteTarget
		want    string
	}{
		{"none", nil, ""},
		{"a tag alone", []wadi.RouteTarget{{Revision: "a-00001", Tag: "x"}}, ""},
		{"the larger", []wadi.RouteTarget{{Revision: "a-00001", Weight: 9000}, {Revision: "a-00002", Weight: 1000}}, "a-00001"},
		{"the newer of two alike", []wadi.RouteTarget{{Revision: "a-00002", Weight: 5000}, {Revision: "a-00001", Weight: 5000}}, "a-00002"},
		{"the sum of its targets", []wadi.RouteTarget{
			{Revision: "a-00001", Weight: 3000}, {Revision: "a-00001", Weight: 3000, Tag: "x"}, {Revision: "a-00002", Weight: 4000},
		}, "a-00001"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 20 { // Whatever the order of maps.
				if got := (wadi.Route{Targets: tt.targets}).Main(); got != tt.want {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}
