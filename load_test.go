package wadi_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

func TestLoadHistory_With(t *testing.T) {
	busy := func(minutes ...int64) (all []wadi.LoadMinute) {
		for _, m := range minutes {
			all = append(all, wadi.LoadMinute{Minute: m, Concurrency: 1.23456, Peak: 2, Requests: float64(m), PeakRate: 3})
		}
		return all
	}
	var h wadi.LoadHistory
	for _, tt := range []struct {
		why      string
		from, to int64
		busy     []wadi.LoadMinute
		begin    int64
		requests []float64
	}{
		{"nothing", 5, 5, busy(5), 0, nil},
		{"a first one", 100, 103, busy(101), 6000, []float64{0, 101, 0}},
		{"the next one", 103, 104, busy(103), 6000, []float64{0, 101, 0, 103}},
		{"a gap", 106, 107, busy(106), 6000, []float64{0, 101, 0, 103, -1, -1, 106}},
		{"the same again", 106, 107, busy(106), 6000, []float64{0, 101, 0, 103, -1, -1, 106}},
		{"of the first minute the larger counts", 103, 107, busy(104), 6000, []float64{0, 101, 0, 103, 104, 0, 0}},
		{"a clock that went back", 101, 103, busy(102, 99, 500), 6000, []float64{0, 101, 102}},
	} {
		h = h.With(tt.from, tt.to, tt.busy)
		if d := cmp.Diff(tt.requests, h.Requests); d != "" || h.Begin != tt.begin || !h.Known() {
			t.Errorf("%s: begin %d (-want +got):\n%s", tt.why, h.Begin, d)
		}
	}
	if h.Concurrency[1] != 1.235 {
		t.Errorf("it is not rounded: %v", h.Concurrency)
	}
	day := h.With(102+wadi.MaxLoadMinutes, 103+wadi.MaxLoadMinutes, nil)
	if day.Minutes() != wadi.MaxLoadMinutes || day.Begin != 103*60 || day.Requests[0] != -1 {
		t.Errorf("after a day there are %d minutes from %d", day.Minutes(), day.Begin)
	}
	if far := h.With(1<<40, 1<<40+1, busy(1<<40)); far.Minutes() != wadi.MaxLoadMinutes || far.Requests[wadi.MaxLoadMinutes-1] != 1<<40 {
		t.Errorf("far in the future there are %d minutes", far.Minutes())
	}
	if d := cmp.Diff([]float64{0, 101, 102}, h.Requests); d != "" {
		t.Errorf("it was changed in place:\n%s", d)
	}
}

// A value that does not fit together, or is too long, is not used.
func TestLoadHistory_Known(t *testing.T) {
	for _, text := range []string{
		`{"begin": 60, "requests": [1]}`, `{"begin": 61}`, `{"begin": -60}`,
		`{"begin": 0, "requests": [1], "concurrency": [1, 2], "peak": [1], "peak_rate": [1]}`,
	} {
		var h wadi.LoadHistory
		if err := json.Unmarshal([]byte(text), &h); err != nil || h.Known() {
			t.Errorf("%s: %v, known %t", text, err, h.Known())
		}
		if got := h.With(100, 101, nil); !got.Known() || got.Minutes() != 1 {
			t.Errorf("%s: with a minute it is %+v", text, got)
		}
	}
	long := wadi.LoadHistory{Concurrency: make([]float64, 1441), Peak: make([]float64, 1441), Requests: make([]float64, 1441), PeakRate: make([]float64, 1441)}
	if long.Known() {
		t.Error("more than a day is known")
	}
	b, err := json.Marshal(wadi.LoadHistory{}.OrEmpty())
	if err != nil || string(b) != `{"begin":0,"concurrency":[],"peak":[],"requests":[],"peak_rate":[]}` {
		t.Errorf("an empty one is %s, %v", b, err)
	}
}

// Whatever is added, it stays within a day and fits together.
func TestLoadHistory_Random(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h wadi.LoadHistory
	for range 3000 {
		from := r.Int64N(6000)
		h = h.With(from, from+r.Int64N(2000)-10, []wadi.LoadMinute{{Minute: from + r.Int64N(50), Requests: 1}})
		if !h.Known() {
			t.Fatalf("%d minutes from %d", h.Minutes(), h.Begin)
		}
	}
}
