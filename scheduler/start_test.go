package scheduler_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi/scheduler"
)

func TestStart_Next(t *testing.T) {
	type see struct {
		at, count, ready int
		known            bool
	}
	for _, tt := range []struct {
		name         string
		seen         []see
		began, ready int // 0: not.
	}{
		{"at zero", []see{{10, 0, 0, true}}, 0, 0},
		{"begins", []see{{10, 0, 0, true}, {12, 1, 0, true}, {14, 1, 0, true}}, 12, 0},
		{"is ready", []see{{12, 1, 0, true}, {14, 1, 1, true}, {16, 2, 2, true}}, 12, 14},
		{"is not asked yet", []see{{12, 1, 1, false}}, 12, 0},
		{"was ready", []see{{12, 1, 1, true}, {14, 1, 0, true}, {16, 1, 1, true}}, 12, 12},
		{"begins anew", []see{{12, 1, 1, true}, {14, 0, 1, true}, {16, 1, 0, true}}, 16, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s scheduler.Start
			for _, v := range tt.seen {
				s = s.Next(at(float64(v.at)), v.count, v.ready, v.known)
			}
			moment := func(second int) time.Time {
				if second == 0 {
					return time.Time{}
				}
				return at(float64(second))
			}
			want := scheduler.Start{Began: moment(tt.began), Ready: moment(tt.ready)}
			if s != want {
				t.Errorf("got %+v, want %+v", s, want)
			}
		})
	}
}
