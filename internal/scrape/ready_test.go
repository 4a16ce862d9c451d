package scrape_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/scrape"
)

// How many are ready, and whether that is known, is counted again whenever it changes,
// and each time somebody has asked in between.
func TestScraper_ReadyFollowsItsInstances(t *testing.T) {
	scraping(t, func(r rig) {
		want := func(when string, ready int, known bool) {
			r.Helper()
			if n, k := r.s.ReadyCount(rev1), r.readyKnown(rev1); n != ready || k != known {
				r.Errorf("%s: %d ready, known: %t; want %d, %t", when, n, k, ready, known)
			}
		}
		r.instance("i1", "b1").setReady(true)
		r.instance("i2", "b1").silence(true) // It takes long to be asked.
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
