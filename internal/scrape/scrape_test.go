package scrape_test

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/proxy/stats"
)

func near(got, want, by float64) bool { return math.Abs(got-want) <= by }

func TestScraper_InstanceStartsAndIsMeasured(t *testing.T) {
	scraping(t, func(r rig) {
		r.follow("i1") // Placed; its process does not run yet.
		pass(300 * time.Millisecond)
		if n := r.readyCount(rev1); n != 0 {
			r.Fatalf("%d ready", n)
		}
		in := r.instance("i1", "b1")
		pass(1500 * time.Millisecond)
		if n := r.readyCount(rev1); n != 0 {
			r.Fatalf("%d ready before the app is", n)
		}
		changed := r.s.Changed()
		in.setReady(true)
		pass(300 * time.Millisecond)
		select {
		case <-changed:
		default:
			r.Fatal("no word of the readiness")
		}
		if n := r.readyCount(rev1); n != 1 {
			r.Fatalf("%d ready", n)
		}

		end := load(in.rec, 5, false)
		pass(20 * time.Second)
		end()
		a := r.averages(rev1)
		if a.Partial || !near(a.Panic, 5, 0.01) || a.Coverage != 1 {
			r.Fatalf("under load: %+v", a)
		}
		pass(30 * time.Second)
		a = r.averages(rev1)
		if a.Partial || a.Panic != 0 || a.Idle < 25*time.Second || a.Idle > 30*time.Second {
			r.Fatalf("30s after the load: %+v", a)
		}
	})
}

func TestScraper_IdleCostsOneOpenPoll(t *testing.T) {
	scraping(t, func(r rig) {
		in, act := r.instance("i1", "b1"), r.activator("a1", "b1")
		in.setReady(true)
		r.follow("i1", "a1")
		pass(10 * time.Minute)
		for _, h := range []*host{in.host, act.host} {
			if n := h.requests("/v1/stats"); n < 15 || n > 25 {
				r.Errorf("%s was asked %d times in 10 minutes", h.addr, n)
			}
		}
		if a := r.averages(rev1); a.Partial || a.Coverage != 1 || a.Idle < 9*time.Minute {
			r.Errorf("%+v", a)
		}
	})
}

func TestScraper_BusyIsReadOnceASecond(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		in.setReady(true)
		r.follow("i1")
		pass(time.Second)
		before := in.requests("/v1/stats")
		end := load(in.rec, 1, false)
		pass(time.Minute)
		end()
		if n := in.requests("/v1/stats") - before; n < 55 || n > 65 {
			r.Errorf("asked %d times in a minute", n)
		}
	})
}

func TestScraper_UnreadyIsNoticed(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		in.setReady(true)
		r.follow("i1")
		pass(time.Second)
		in.setReady(false)
		pass(1500 * time.Millisecond)
		if r.readyCount(rev1) != 0 || r.s.Ready("i1") {
			r.Fatal("still ready")
		}
		in.setReady(true)
		pass(300 * time.Millisecond)
		if r.readyCount(rev1) != 1 {
			r.Fatal("not ready again")
		}
		in.stop()
		pass(300 * time.Millisecond)
		if r.readyCount(rev1) != 0 {
			r.Fatal("ready without a process")
		}
	})
}

// A request in an activator that has reached an instance counts once.
func TestScraper_CountsARequestOnce(t *testing.T) {
	scraping(t, func(r rig) {
		in, act := r.instance("i1", "b1"), r.activator("a1", "b1")
		in.setReady(true)
		r.follow("i1", "a1")
		pass(time.Second)
		defer load(act.of(rev1), 7, false)()
		defer load(in.rec, 4, true)()  // Of the seven.
		defer load(in.rec, 2, false)() // Straight from the mesh.
		pass(20 * time.Second)
		if a := r.averages(rev1); !near(a.Panic, 9, 0.01) || a.Partial {
			r.Fatalf("%+v", a)
		}
	})
}

func TestScraper_ActivatorOfSeveralRevisions(t *testing.T) {
	scraping(t, func(r rig) {
		act := r.activator("a1", "b1")
		born := time.Now()
		r.s.Set([]scrape.Revision{{ID: rev1, Created: born, Window: time.Minute}, {ID: rev2, Created: born, Window: time.Minute}}, sources("a1"))
		pass(40 * time.Second) // Its first poll is answered with nothing.
		if a := r.averages(rev1); a.Partial || a.Idle < 35*time.Second {
			r.Fatalf("an activator without requests: %+v", a)
		}
		end := load(act.of(rev1), 3, false)
		pass(2100 * time.Millisecond)
		select {
		case <-r.s.Backlog.Changed():
		default:
			r.Fatal("the backlog is not signalled")
		}
		if got := r.s.Backlog.Take(); !slices.Equal(got, []string{rev1}) {
			r.Fatalf("backlog: %v", got)
		}
		pass(10 * time.Second)
		if got := r.s.Backlog.Take(); len(got) != 0 {
			r.Fatalf("backlog of queues that did not grow: %v", got)
		}
		one, two := r.averages(rev1), r.averages(rev2)
		if !near(one.Panic, 3, 0.01) || two.Panic != 0 || two.Partial || two.Idle < 45*time.Second {
			r.Fatalf("%+v, %+v", one, two)
		}
		end()
	})
}

func TestScraper_ReadsBackWhatItMissed(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		in.setReady(true)
		r.follow("i1")
		pass(time.Second)
		defer load(in.rec, 6, false)()
		pass(70 * time.Second)

		in.silence(true)
		pass(20 * time.Second)
		if a := r.averages(rev1); !a.Partial && a.Stable > 5.5 {
			r.Fatalf("silence counts as load: %+v", a)
		}
		pass(20 * time.Second) // The poll has timed out.
		if a := r.averages(rev1); !a.Partial || a.Idle != 0 {
			r.Fatalf("silence is taken for rest: %+v", a)
		}
		in.silence(false)
		pass(10 * time.Second)
		if a := r.averages(rev1); a.Partial || !near(a.Stable, 6, 0.01) || !near(a.Panic, 6, 0.01) {
			r.Fatalf("not read back: %+v", a)
		}
	})
}

func TestScraper_ConfirmFindsSilentSources(t *testing.T) {
	scraping(t, func(r rig) {
		in, act := r.instance("i1", "b1"), r.activator("a1", "b1")
		in.setReady(true)
		r.follow("i1", "a1")
		pass(65 * time.Second)
		r.s.Confirm(r.Context(), rev1)
		if a := r.averages(rev1); a.Partial || a.Idle < 60*time.Second {
			r.Fatalf("all answer: %+v", a)
		}
		pass(2 * time.Second)
		if a := r.averages(rev1); a.Partial {
			r.Fatalf("the poll is open again: %+v", a)
		}

		in.silence(true) // The open poll gets no answer.
		defer load(in.rec, 5, false)()
		pass(10 * time.Second)
		before := time.Now()
		r.s.Confirm(r.Context(), rev1)
		if d := time.Since(before); d > 3*time.Second {
			r.Errorf("took %v", d)
		}
		if a := r.averages(rev1); !a.Partial || a.Idle != 0 {
			r.Fatalf("one is silent: %+v", a)
		}
		if n := act.requests("/v1/stats"); n > 8 {
			r.Errorf("the other was asked %d times", n)
		}
	})
}

// An instance that is not ready may still have requests.
func TestScraper_UnreadyIsMeasured(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		defer load(in.rec, 6, false)()
		pass(60 * time.Second)
		r.follow("i1")
		pass(20 * time.Second)
		if a := r.averages(rev1); !near(a.Stable, 6, 0.01) || a.Partial {
			r.Fatalf("%+v", a)
		}
	})
}

// An instance that could not be asked is not idle.
func TestScraper_NeverAnswered(t *testing.T) {
	for _, tt := range []struct {
		name     string
		age      time.Duration
		starting bool
		partial  bool
	}{
		{"just placed", 0, false, false},
		{"placed long ago", time.Hour, false, true},
		{"still starting", time.Hour, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scraping(t, func(r rig) {
				r.activator("a1", "b1")
				srcs := sources("a1", "i1")
				srcs[1].Placed, srcs[1].Starting = time.Now().Add(-tt.age), tt.starting
				r.s.Set([]scrape.Revision{{ID: rev1, Created: time.Now().Add(-2 * time.Hour), Window: time.Minute}}, srcs)
				pass(10 * time.Second)
				if a := r.averages(rev1); a.Partial != tt.partial {
					r.Fatalf("%+v", a)
				}
			})
		})
	}
}

// A new leader gets the same windows as the old one.
func TestScraper_NewLeaderReadsHistory(t *testing.T) {
	scraping(t, func(r rig) {
		in, act := r.instance("i1", "b1"), r.activator("a1", "b1")
		in.setReady(true)
		end := load(in.rec, 6, false)
		held := load(act.of(rev1), 2, false)
		pass(100 * time.Second)
		end()
		held()
		pass(30 * time.Second)

		srcs := sources("i1", "a1")
		srcs[0].Placed = time.Now().Add(-130 * time.Second)
		r.followSources(srcs)
		pass(100 * time.Millisecond)
		if r.readyCount(rev1) != 1 || !r.readyKnown(rev1) {
			r.Fatal("readiness not known")
		}
		if a := r.averages(rev1); a.Partial || !near(a.Stable, 4, 0.3) || a.Panic != 0 || a.Idle < 28*time.Second {
			r.Fatalf("%+v", a)
		}
	})
}

func TestScraper_RevisionAndWindowComeLater(t *testing.T) {
	scraping(t, func(r rig) {
		in, act := r.instance("i1", "b1"), r.activator("a1", "b1")
		in.setReady(true)
		born := time.Now()
		r.s.Set(nil, sources("i1", "a1"))
		end, held := load(in.rec, 6, false), load(act.of(rev1), 2, false)
		pass(300 * time.Second)
		end()
		held()
		r.s.Set([]scrape.Revision{{ID: rev1, Created: born, Window: time.Minute}}, sources("i1", "a1"))
		pass(time.Second)
		if a := r.averages(rev1); a.Partial || !near(a.Stable, 8, 0.3) {
			r.Fatalf("a new revision: %+v", a)
		}
		pass(10 * time.Second)
		r.s.Set([]scrape.Revision{{ID: rev1, Created: born, Window: 4 * time.Minute}}, sources("i1", "a1"))
		pass(time.Second)
		r.s.Read(rev1, func(got scrape.Reading) {
			a := got.Windows.Averages(got.Now, 4*time.Minute, 24*time.Second, wadi.Concurrency)
			if a.Partial || !near(a.Stable, 8*228.0/240, 0.1) {
				r.Fatalf("a longer window: %+v", a)
			}
		})
	})
}

func TestScraper_NonsenseIsUnknown(t *testing.T) {
	for _, tt := range []struct{ name, body string }{
		{"no JSON", "hello"},
		{"nothing", ""},
		{"cut", `{"boot":"b","now":100,"revision":"hello-00001","samp`},
		{"two objects", strings.Repeat(`{"boot":"b","now":100,"revision":"hello-00001","samples":[]}`, 2)},
		{"no boot", `{"now":100,"revision":"hello-00001","samples":[]}`},
		{"another revision", `{"boot":"b","now":100,"revision":"hello-00002","samples":[]}`},
		{"another instance", `{"source":"i9","boot":"b","now":100,"revision":"hello-00001","samples":[]}`},
		{"before its start", `{"boot":"b","now":-1,"revision":"hello-00001","samples":[]}`},
		{"a second that is not over", `{"boot":"b","now":100,"revision":"hello-00001","samples":[[100,1,0,1,0]]}`},
		{"disorder", `{"boot":"b","now":100,"revision":"hello-00001","samples":[[9,1,0,1,0],[8,1,0,1,0]]}`},
		{"negative", `{"boot":"b","now":100,"revision":"hello-00001","samples":[[9,-1,0,1,0]]}`},
		{"beyond reason", `{"boot":"b","now":100,"revision":"hello-00001","samples":[[9,1e300,0,1,0]]}`},
		{"endless", `{"boot":"` + strings.Repeat("b", 1<<20) + `","now":100,"revision":"hello-00001","samples":[]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scraping(t, func(r rig) {
				mux := http.NewServeMux()
				mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
				mux.HandleFunc("/v1/stats", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(tt.body)) })
				h := r.serve("i1:80", mux)
				srcs := sources("i1")
				srcs[0].Placed = time.Now().Add(-time.Hour)
				r.s.Set([]scrape.Revision{{ID: rev1, Created: time.Now().Add(-time.Hour), Window: time.Minute}}, srcs)
				pass(30 * time.Second)
				if r.readyCount(rev1) != 1 {
					r.Fatal("not ready, though it says so")
				}
				if a := r.averages(rev1); !a.Partial || a.Stable != 0 || a.Idle != 0 {
					r.Fatalf("%+v", a)
				}
				if n := h.requests("/v1/stats"); n > 40 {
					r.Fatalf("asked %d times in 30s", n)
				}
			})
		})
	}
}

// A source that answers polls at once is not asked all the time.
func TestScraper_SourceThatDoesNotWait(t *testing.T) {
	scraping(t, func(r rig) {
		h := r.serve("a1:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r.follow("a1")
		pass(time.Minute)
		if n := h.requests("/v1/stats"); n > 60 {
			r.Fatalf("asked %d times in a minute", n)
		}
	})
}

// The same over real connections.
func TestScraper_TCP(t *testing.T) {
	rec := stats.NewRecorder("i1", "b1", rev1, time.Hour)
	defer rec.Begin(false)()
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/v1/stats", stats.Handler(rec))
	srv := httptest.NewServer(mux)
	defer srv.Close()

	s := scrape.New(hclog.NewNullLogger(), nil)
	s.Wait = time.Second
	src := scrape.Source{ID: "i1", Kind: wadi.SourceInstance, Addr: srv.Listener.Addr().String(), Revision: rev1, Placed: time.Now()}
	s.Set([]scrape.Revision{{ID: rev1, Created: time.Now().Add(-time.Minute), Window: time.Minute}}, []scrape.Source{src})
	changed := s.Changed()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- s.Run(ctx) }()
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Fatal("not ready")
	}
	if n, _ := s.ReadyCount(rev1); n != 1 {
		t.Fatal("not counted as ready")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
