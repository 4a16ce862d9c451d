package scrape_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/scrape"
)

// The number of ready instances, and whether it is known, is counted again after every
// change, even if it was read in between.
func TestScraper_ReadyFollowsItsInstances(t *testing.T) {
	scraping(t, func(r rig) {
		want := func(when string, ready int, known bool) {
			r.Helper()
			if n, k := r.readyCount(rev1), r.readyKnown(rev1); n != ready || k != known {
				r.Errorf("%s: %d ready, known: %t; want %d, %t", when, n, k, ready, known)
			}
		}
		r.instance("i1", "b1").setReady(true)
		r.instance("i2", "b1").silence(true) // Its answers take long.
		r.follow("i1")
		pass(time.Second)
		want("ready", 1, true)
		r.follow("i1", "i2")
		want("another one comes", 1, false)
		pass(5 * time.Second)
		want("and was asked", 1, true)

		srcs := sources("i1", "i2")
		srcs[0].Stopping = true
		revs := []scrape.Revision{{ID: rev1, Created: time.Now().Truncate(time.Hour), Window: time.Minute}}
		r.s.Set(revs, srcs)
		want("the ready one stops", 0, true)
		r.s.Set(revs, sources("i1", "i2"))
		want("it does not after all", 1, true)
		r.s.Set(revs, sources("i2"))
		want("it is gone", 0, true)
		r.follow()
		r.s.Set(nil, nil)
		want("nothing is measured", 0, false)
	})
}

// The reason why an instance is not ready is reported when it has lasted, in the
// instance's own words as far as they are printable. A ready instance has no reason.
func TestScraper_TellsWhyAnInstanceIsNotReady(t *testing.T) {
	scraping(t, func(r rig) {
		want := func(when, why string) {
			r.Helper()
			if got := r.s.Unready(rev1); got != why {
				r.Errorf("%s: got %q, want %q", when, got, why)
			}
		}
		want("nothing is known", "")
		in := r.instance("i1", "b1")
		in.setWhy("nothing listens on 127.0.0.1:8080")
		r.follow("i1")
		pass(2 * time.Second)
		want("it may just start", "")
		changed := r.s.Changed()
		pass(2 * time.Second)
		want("it goes on", "nothing listens on 127.0.0.1:8080")
		if !closed(changed) {
			r.Error("readers were not notified")
		}
		in.setWhy("\x1b[2Jlong" + strings.Repeat("x", 5000))
		pass(2 * time.Second)
		want("in other words", "[2Jlong"+strings.Repeat("x", 192)+"…")
		in.setReady(true)
		pass(2 * time.Second)
		want("ready", "")
		in.setReady(false)
		pass(time.Second)
		want("not any more, for a moment", "")
		pass(5 * time.Second)
		want("nor for longer", "[2Jlong"+strings.Repeat("x", 192)+"…")
		in.stop()
		pass(15 * time.Second)
		want("it has gone", "its queue-proxy does not answer")
		r.follow()
		want("and is no source any more", "")

		in = r.instance("i2", "b1")
		in.setWhy("draining: waits for 1 request and 0 tunnels")
		srcs := sources("i2")
		srcs[0].Stopping = true
		r.s.Set([]scrape.Revision{{ID: rev1, Created: time.Now(), Window: time.Minute}}, srcs)
		pass(2 * time.Second)
		want("one that was told to stop is not to be ready", "")
		if got := r.s.Draining(rev1); got != "draining: waits for 1 request and 0 tunnels" {
			t.Errorf("draining: got %q", got)
		}
	})
}

// The ways past an instance are known once it was ready, and its reader is informed of
// each change.
func TestScraper_TellsHowInstancesAreExposed(t *testing.T) {
	scraping(t, func(r rig) {
		want := func(when, wide, unshielded string, known bool) {
			r.Helper()
			at, k1 := r.s.Wide(rev1)
			why, k2 := r.s.Unshielded(rev1)
			if at != wide || why != unshielded || k1 != known || k2 != known {
				r.Errorf("%s: got %q (%t) and %q (%t), want %q and %q (%t)", when, at, k1, why, k2, wide, unshielded, known)
			}
		}
		in := r.instance("i1", "b1")
		in.setExposed("*:8080", "there is no nft on the PATH")
		r.follow("i1")
		pass(2 * time.Second)
		want("not ready", "", "", false)
		in.setReady(true)
		pass(2 * time.Second)
		want("ready", "*:8080", "there is no nft on the PATH", true)
		changed := r.s.Changed()
		in.setExposed("*:8080", strings.Repeat("x", 1000))
		pass(2 * time.Second)
		want("in other words", "*:8080", strings.Repeat("x", 199)+"…", true)
		if !closed(changed) {
			r.Error("readers were not notified")
		}
		in.setExposed("", "")
		pass(2 * time.Second)
		want("mended", "", "", true)
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
