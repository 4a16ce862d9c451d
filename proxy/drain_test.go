package proxy_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi/proxy"
)

// settled runs a drain to which requests come every so often, until it has
// settled, and says how long that took.
func settled(t *testing.T, s proxy.Settle, every time.Duration) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		d := proxy.NewDrain()
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
	s := proxy.Settle{Least: 2 * time.Second, Quiet: time.Second, Longest: 10 * time.Second}
	for _, tt := range []struct {
		name  string
		s     proxy.Settle
		every time.Duration
		want  time.Duration
	}{
		{"nobody comes", s, time.Hour, 2 * time.Second},
		{"nobody comes, and nobody polls", proxy.Settle{Quiet: time.Second, Longest: time.Minute}, time.Hour, time.Second},
		{"at once", proxy.Settle{}, time.Hour, 0},
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
		d := proxy.NewDrain()
		ended := make(chan struct{})
		go func() { d.Run(ctx, proxy.Settle{Least: time.Hour, Longest: time.Hour}); close(ended) }()
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
