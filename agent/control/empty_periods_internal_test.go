package control

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// That a revision was without instances long ago says nothing about now, and is forgotten.
func TestEmptyPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e emptyPeriods
		for i, tt := range []struct {
			after time.Duration
			empty bool
			want  time.Duration
		}{
			{0, true, 0},
			{5 * time.Second, true, 5 * time.Second},
			{emptyForgottenAfter, true, 5*time.Second + emptyForgottenAfter},
			{time.Hour, true, 0}, // Others woke it meanwhile.
			{5 * time.Second, false, 0},
			{5 * time.Second, true, 0},
		} {
			time.Sleep(tt.after)
			if got := e.observe("hello-00001", tt.empty); got != tt.want {
				t.Errorf("observation %d: empty for %v, want %v", i, got, tt.want)
			}
		}
		for i := range 100 {
			e.observe("gone-"+strconv.Itoa(i), true)
		}
		time.Sleep(2 * emptyForgottenAfter)
		e.observe("hello-00001", true)
		if n := len(e.periods); n != 1 {
			t.Errorf("it keeps %d revisions, want 1", n)
		}
	})
}
