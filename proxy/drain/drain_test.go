package drain_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi/proxy/drain"
)

// settled runs a drain to which requests come every so often, until it has
// settled, and says how long that took.
func settled(t *testing.T, s drain.Policy, every time.Duration) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		d := drain.New()
		go d.Run(t.Context(), s)
		time.Sleep(time.Minute) // Nothing happens before it begins.
		d.Begin()
		d.Begin()
		begun := time.Now()
		for {
			synctest.Wait()
			select {
			case <-d.Settled():
				took = time.Since(begun)
				return
			case <-time.After(every):
				d.Saw()
			}
		}
	})
	return took
}

func TestDrain_Settles(t *testing.T) {
	s := drain.Policy{Min: 2 * time.Second, Quiet: time.Second, Max: 10 * time.Second}
	for _, tt := range []struct {
		name  string
		s     drain.Policy
		every time.Duration
		want  time.Duration
	}{
		{"nobody comes", s, time.Hour, 2 * time.Second},
		{"nobody comes, and nobody polls", drain.Policy{Quiet: time.Second, Max: time.Minute}, time.Hour, time.Second},
		{"at once", drain.Policy{}, time.Hour, 0},
		{"one comes late", s, 1900 * time.Millisecond, 2900 * time.Millisecond},
		{"they come for ever", s, 300 * time.Millisecond, 10 * time.Second},
	} {
		if got := settled(t, tt.s, tt.every); got.Round(100*time.Millisecond) != tt.want {
			t.Errorf("%s: settled after %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestDrain_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := drain.New()
		ended := make(chan struct{})
		go func() { d.Run(ctx, drain.Policy{Min: time.Hour, Max: time.Hour}); close(ended) }()
		d.Begin()
		synctest.Wait()
		cancel()
		<-ended
		select {
		case <-d.Settled():
			t.Error("settled, but it was broken off")
		default:
		}
	})
}
