package scrape_test

import (
	"testing"
	"time"
)

func TestScraper_StoppingInstanceEnds(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		r.activator("a1", "b1")
		in.setReady(true)
		r.follow("i1", "a1")
		end := load(in.rec, 6, false)
		pass(90 * time.Second)

		srcs := sources("i1", "a1")
		srcs[0].Stopping = true
		r.followSources(srcs)
		if r.readyCount(rev1) != 0 {
			r.Fatal("ready though it stops")
		}
		pass(5 * time.Second)
		end()
		in.stop()
		pass(20 * time.Second) // Nomad still lists the allocation.
		a := r.averages(rev1)
		if a.Partial || a.Coverage != 1 || !near(a.Stable, 4, 0.2) || a.Idle < 17*time.Second {
			r.Fatalf("after its end: %+v", a)
		}
		r.follow("a1")
		pass(time.Second)
		if a := r.averages(rev1); a.Partial {
			r.Fatalf("after its allocation's end: %+v", a)
		}
	})
}

func TestScraper_RestartIsPartialAndReadFromItsBeginning(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		in.setReady(true)
		r.follow("i1")
		pass(100 * time.Second)
		defer load(in.rec, 6, false)()
		pass(30 * time.Second)
		in.stop()
		pass(3 * time.Second)

		again := r.instance("i1", "b2")
		again.setReady(true)
		end := load(again.rec, 6, false)
		pass(10 * time.Second)
		if a := r.averages(rev1); !a.Partial || !near(a.Panic, 6, 0.01) {
			r.Fatalf("after the restart: %+v", a)
		}
		end()
		pass(70 * time.Second)
		if a := r.averages(rev1); a.Partial || a.Idle < 65*time.Second {
			r.Fatalf("a window later: %+v", a)
		}
	})
}

// A poll that the source's end broke was open until then: there was no load.
func TestScraper_SilenceBeforeTheEndIsKnown(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		in.setReady(true)
		r.follow("i1")
		pass(55 * time.Second) // The last poll was answered at 30s.
		in.stop()
		again := r.instance("i1", "b2")
		again.setReady(true)
		pass(10 * time.Second)
		if a := r.averages(rev1); !a.Partial || a.Coverage < 0.9 {
			r.Fatalf("%+v", a)
		}
	})
}

// The time of a new process before the first read is read from its beginning.
func TestScraper_RestartBehindAnOutage(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		in.setReady(true)
		r.follow("i1")
		pass(10 * time.Second)
		in.stop()
		again := r.instance("i1", "b2")
		again.setReady(true)
		again.silence(true)
		defer load(again.rec, 6, false)()
		pass(40 * time.Second)
		again.silence(false)
		pass(30 * time.Second)
		if a := r.averages(rev1); !near(a.Stable, 6, 0.01) || a.Partial {
			r.Fatalf("%+v", a)
		}
	})
}

func TestScraper_AgentRestarts(t *testing.T) {
	scraping(t, func(r rig) {
		act := r.activator("a1", "b1")
		r.follow("a1")
		end := load(act.of(rev1), 6, false)
		pass(30 * time.Second)
		end()
		act.stop()
		pass(2 * time.Second)
		again := r.activator("a1", "b2") // It has no revision yet.
		pass(50 * time.Second)
		before := again.requests("/v1/stats")
		if before > 10 {
			r.Errorf("asked %d times", before)
		}
		defer load(again.of(rev1), 3, false)()
		pass(10 * time.Second)
		if a := r.averages(rev1); !near(a.Panic, 3, 0.01) {
			r.Fatalf("%+v", a)
		}
		pass(60 * time.Second)
		if a := r.averages(rev1); !near(a.Stable, 3, 0.01) || a.Partial {
			r.Fatalf("%+v", a)
		}
	})
}
