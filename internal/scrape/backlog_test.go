package scrape_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/proxy/stats"
)

// When the queue of any agent's activator grows, the leader knows as soon as that second
// is over, and the windows contain it.
func TestScraper_BacklogIsKnownWhenTheSecondIsOver(t *testing.T) {
	scraping(t, func(r rig) {
		own, other := r.activator("a1", "b1"), r.activator("a2", "b2")
		r.follow("a1", "a2")
		pass(65*time.Second + 300*time.Millisecond)
		for len(r.s.Backlog.Changed()) > 0 {
			<-r.s.Backlog.Changed()
		}
		defer load(other.of(rev1), 40, false)()
		began := time.Now()
		<-r.s.Backlog.Changed()
		took := time.Since(began)
		if got := r.s.Backlog.Take(); len(got) != 1 || got[0] != rev1 {
			r.Errorf("backlog: %v, want %s", got, rev1)
		}
		if took > time.Second {
			r.Errorf("known after %v", took)
		}
		pass(time.Second + 100*time.Millisecond) // Idle sources may still report that second.
		if a := r.averages(rev1); a.Panic < 40*0.6/6 {
			r.Errorf("measured as %+v", a)
		}
		pass(2 * time.Second)
		if n := own.requests("/v1/stats"); n > 8 {
			r.Errorf("the idle one was asked %d times", n)
		}
	})
}

// late is an instance that answers slowly.
func (n *network) late(id string, by time.Duration) (*host, *stats.Recorder) {
	clock := stats.NewClock()
	rec := clock.NewRecorder(id, "b1", rev1, time.Hour)
	handler := stats.Handler(rec, func(h http.Header) { h.Set("Wadi-Ready", "true") })
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/v1/stats", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(by):
			handler.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
	return n.serve(id+":80", mux), rec
}

// A slow instance is not taken for one without load, nor waited for.
func TestScraper_SlowInstance(t *testing.T) {
	scraping(t, func(r rig) {
		in := r.instance("i1", "b1")
		in.setReady(true)
		_, slow := r.late("i2", 3500*time.Millisecond)
		r.follow("i1", "i2")
		defer load(in.rec, 4, false)()
		defer load(slow, 6, false)()
		pass(90 * time.Second)
		for range 20 {
			pass(500 * time.Millisecond)
			a := r.averages(rev1)
			if age := time.Since(a.End); age > 3*time.Second {
				r.Fatalf("the window ended %v ago: %+v", age, a)
			}
			if a.Coverage < 0.9 || a.Stable < 0.9*10 {
				r.Fatalf("what it does is lost: %+v", a)
			}
		}
		r.s.Confirm(r.Context(), rev1) // As before a count is lowered.
		if a := r.averages(rev1); !a.Partial && !near(a.Panic, 10, 0.01) {
			r.Errorf("what it has not told yet is taken for rest: %+v", a)
		}
	})
}

// Sources' clocks do not matter: a source that counts from long ago, and one that was
// paused, are mapped by the arrival of their answers.
func TestScraper_SourcesOfAnyAge(t *testing.T) {
	scraping(t, func(r rig) {
		old := r.instance("i1", "b1")
		old.setReady(true)
		pass(3*time.Hour + 400*time.Millisecond)
		young := r.instance("i2", "b2")
		young.setReady(true)
		r.s.Set([]scrape.Revision{{ID: rev1, Created: time.Now().Add(-4 * time.Hour), Window: time.Minute}}, sources("i1", "i2"))
		pass(61 * time.Second)
		one, two := load(old.rec, 3, false), load(young.rec, 5, false)
		pass(30 * time.Second)
		one()
		two()
		pass(2 * time.Second)
		if a := r.averages(rev1); a.Partial || !near(a.Stable, 4, 0.2) {
			r.Errorf("got %+v, want 8 for half of the window", a)
		}
	})
}
