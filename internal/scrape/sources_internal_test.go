package scrape

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// A revision that had requests at an activator until it was gone leaves nothing behind, as
// activators live as long as their agents.
func TestScraper_ForgetsRevisionsThatAreGone(t *testing.T) {
	s := New(hclog.NewNullLogger(), nil)
	activators := []Source{{ID: "a1", Kind: wadi.SourceActivator}}
	s.Set([]Revision{{ID: "hello-00001", Window: time.Minute}}, activators)
	f := s.followers["a1"]
	busy := wadi.Stats{Source: "a1", Boot: "b1", Now: 11, Revision: "hello-00001", Samples: []wadi.Sample{{N: 10, Concurrency: 3}}}
	s.recordStats(f, 10, []wadi.Stats{busy}, time.Now())
	if len(f.requests) != 1 {
		t.Fatalf("requests are known of %d revisions, want 1", len(f.requests))
	}
	s.Set(nil, activators)
	s.recordStats(f, 11, []wadi.Stats{busy}, time.Now())
	if len(f.requests) != 0 || len(s.revisions) != 0 || len(s.groups) > 1 {
		t.Errorf("kept: requests of %d revisions, %d revisions, %d groups", len(f.requests), len(s.revisions), len(s.groups))
	}
}
