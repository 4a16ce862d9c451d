package scrape_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/proxy/stats"
)

// An unlisted source is followed until it stops answering.
func TestScraper_ListedNoMore(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(r rig, h *host)
	}{
		{"its process ends", func(_ rig, h *host) { h.stop() }},
		{"it falls silent", func(_ rig, h *host) { h.silence(true) }},
		{"another has its address", func(r rig, h *host) {
			h.stop()
			r.serve(h.addr, stats.Handler(stats.NewRecorder("other", "b1", rev1, time.Hour)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scraping(t, func(r rig) {
				in := r.instance("i1", "b1")
				in.setReady(true)
				one, two := r.activator("a1", "b1"), r.activator("a2", "b1")
				r.follow("i1", "a1", "a2")
				defer load(one.of(rev1), 2, false)()
				defer load(two.of(rev1), 3, false)()
				defer load(in.rec, 4, false)()
				pass(100 * time.Second)

				r.follow("a1")
				pass(100 * time.Second)
				if a := r.averages(rev1); a.Partial || !near(a.Stable, 9, 0.01) || !near(a.Panic, 9, 0.01) {
					r.Fatalf("while they answer: %+v", a)
				}
				if r.readyCount(rev1) != 0 {
					r.Error("an instance that is not listed counts as ready")
				}
				tt.end(r, in.host)
				tt.end(r, two.host)
				pass(3 * time.Minute)
				if a := r.averages(rev1); a.Partial || !near(a.Stable, 2, 0.01) {
					r.Fatalf("long after their end: %+v", a)
				}
				before := two.requests("/v1/stats") + in.requests("/v1/stats")
				pass(time.Minute)
				if n := two.requests("/v1/stats") + in.requests("/v1/stats") - before; n > 0 {
					r.Errorf("still asked %d times", n)
				}
			})
		})
	}
}

// It may be listed again.
func TestScraper_ListedAgain(t *testing.T) {
	scraping(t, func(r rig) {
		act := r.activator("a1", "b1")
		r.follow("a1")
		defer load(act.of(rev1), 2, false)()
		pass(10 * time.Second)
		r.follow()
		pass(10 * time.Second)
		r.follow("a1")
		act.stop()
		pass(10 * time.Second)
		again := r.activator("a1", "b2")
		defer load(again.of(rev1), 2, false)()
		pass(70 * time.Second)
		if a := r.averages(rev1); a.Partial || !near(a.Stable, 2, 0.01) {
			r.Fatalf("%+v", a)
		}
	})
}

// A listed source that has ended is seldom asked: there may be a thousand of them. When it
// is expected again, it is asked at once.
func TestScraper_EndedIsSeldomAsked(t *testing.T) {
	scraping(t, func(r rig) {
		act := r.activator("a1", "b1")
		stopping := func(yes bool) {
			srcs := sources("a1")
			srcs[0].Stopping = yes
			r.followSources(srcs)
		}
		stopping(false)
		pass(10 * time.Second)
		act.stop()
		other := r.serve(act.addr, http.NotFoundHandler())
		stopping(true)
		pass(2 * time.Minute)
		before := other.requests("/v1/stats")
		pass(2 * time.Minute)
		if n := other.requests("/v1/stats") - before; n < 2 || n > 15 {
			r.Errorf("asked %d times in two minutes", n)
		}
		other.stop()
		again := r.activator("a1", "b2")
		stopping(false)
		pass(time.Second)
		if again.requests("/v1/stats") == 0 {
			r.Error("not asked though it is back")
		}
	})
}

// A new leader knows of an activator that has ended: its requests are unknown until the
// windows have passed.
func TestScraper_NewLeaderAfterADeath(t *testing.T) {
	for name, silent := range map[string]bool{"it is gone": false, "its node is": true} {
		t.Run(name, func(t *testing.T) {
			scraping(t, func(r rig) {
				act := r.activator("a1", "b1")
				defer load(act.of(rev1), 2, false)()
				if silent {
					r.activator("a2", "b1").silence(true)
				}
				pass(5 * time.Minute)
				set := func() {
					srcs := sources("a1", "a2")
					srcs[1].Stopping = true
					r.followSources(srcs)
				}
				set()
				pass(30 * time.Second)
				a := r.averages(rev1)
				if !a.Partial || !near(a.Stable, 2, 0.01) || a.Lost == 0 {
					r.Fatalf("at first: %+v", a)
				}
				set()
				pass(60 * time.Second)
				if a := r.averages(rev1); a.Partial || a.Coverage != 1 || !near(a.Stable, 2, 0.01) {
					r.Fatalf("a window later: %+v", a)
				}

				// A revision that is measured from now on does not know it either.
				old := scrape.Revision{ID: rev2, Created: time.Now().Add(-4 * time.Minute), Window: 3 * time.Minute}
				srcs := sources("a1", "a2")
				srcs[1].Stopping = true
				r.s.Set([]scrape.Revision{old}, srcs)
				pass(5 * time.Second)
				r.s.Read(rev2, func(got scrape.Reading) {
					a = got.Windows.Averages(got.Now, 3*time.Minute, 6*time.Second, wadi.Concurrency)
				})
				if !a.Partial {
					r.Fatalf("of another revision: %+v", a)
				}
			})
		})
	}
}

// A new leader that has known an activator for longer than its process runs knows that
// there was another process before.
func TestScraper_NewLeaderAfterARestart(t *testing.T) {
	scraping(t, func(r rig) {
		began := time.Now()
		pass(5 * time.Minute)
		r.activator("a1", "b2") // It has had no request.
		act := r.activator("a2", "b2")
		defer load(act.of(rev1), 2, false)()
		pass(20 * time.Second)
		srcs := sources("a1", "a2")
		srcs[0].Seen, srcs[1].Seen = time.Now().Add(-19*time.Second), began
		r.s.Set([]scrape.Revision{{ID: rev1, Created: began, Window: time.Minute}}, srcs)
		pass(5 * time.Second)
		if a := r.averages(rev1); !a.Partial || !near(a.Panic, 2, 0.01) {
			r.Fatalf("at first: %+v", a)
		}
		pass(60 * time.Second)
		if a := r.averages(rev1); a.Partial || !near(a.Stable, 2, 0.01) {
			r.Fatalf("a window later: %+v", a)
		}
	})
}
