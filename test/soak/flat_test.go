package main

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// hourOf is a run of an hour as a leaking process would show it: what is kept grows by perHour,
// each cycle has work that comes and goes, and readings are noisy. seed is the noise's.
func hourOf(perHour float64, seed uint64) []reading {
	noise := rand.New(rand.NewPCG(seed, 0))
	var out []reading
	for at := time.Duration(0); at < time.Hour; at += 10 * time.Second {
		v := 100 + perHour*at.Hours() + noise.NormFloat64()
		if at%cycle < busyFor {
			v += 50 + 50*noise.Float64()
		}
		if at < 5*time.Minute {
			v -= 60 * (1 - at.Minutes()/5) // It warms up.
		}
		out = append(out, reading{at, v})
	}
	return out
}

func TestJudge_SeesLeaks(t *testing.T) {
	tol := tolerance{Least: 10}
	got, err := judge(hourOf(0, 1), judged(time.Hour), cycle, tol)
	if err != nil {
		t.Fatal(err)
	}
	if want := 18.0; math.Abs(got.Sees-want) > 0.01 {
		t.Errorf("it says that it sees %g per hour, want %g", got.Sees, want)
	}
	for _, tt := range []struct {
		perHour float64
		flat    bool
	}{{0, true}, {-200, true}, {0.7 * got.Sees, true}, {1.3 * got.Sees, false}, {10 * got.Sees, false}} {
		for seed := range uint64(200) {
			got, err := judge(hourOf(tt.perHour, seed), judged(time.Hour), cycle, tol)
			if err != nil {
				t.Fatal(err)
			}
			if got.Flat() != tt.flat {
				t.Errorf("grows by %g per hour, seed %d: got flat %t: %+v", tt.perHour, seed, got.Flat(), got)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	at := func(cycles ...float64) (out []reading) { // One busy and one quiet reading per cycle.
		for i, v := range cycles {
			begin := time.Duration(i) * cycle
			out = append(out, reading{begin, v + 1000}, reading{begin + busyFor, v})
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		series []reading
		tol    tolerance
		flat   bool
	}{
		{"flat", at(5, 5, 5, 5, 5, 5), tolerance{}, true},
		{"warm-up is not judged", at(0, 0, 5, 5, 5, 5, 5), tolerance{}, true},
		{"one more at each rest", at(1, 2, 3, 4, 5, 6, 7, 8, 9), tolerance{Least: 3}, false},
		{"one rest was not quiet", at(0, 0, 0, 5, 5, 5, 5, 5, 5, 5, 900, 5), tolerance{}, true},
		{"it varies anyway", at(0, 0, 0, 0, 0, 9, 0, 0, 5, 5, 5, 5), tolerance{}, true},
		{"a steep leak varies too", at(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140), tolerance{}, false},
		{"share of the level", at(0, 0, 0, 100, 100, 100, 109, 109, 109), tolerance{Least: 1, Share: 0.1}, true},
		{"more than that share", at(0, 0, 0, 100, 100, 100, 111, 111, 111), tolerance{Least: 1, Share: 0.1}, false},
	} {
		s := judged(time.Duration(len(tt.series)/2) * cycle)
		got, err := judge(tt.series, s, cycle, tt.tol)
		if err != nil || got.Flat() != tt.flat {
			t.Errorf("%s: got %+v, flat %t, %v, want flat %t", tt.name, got, got.Flat(), err, tt.flat)
		}
	}
}

// A process that was not seen for long enough is not called flat.
func TestJudge_TooShort(t *testing.T) {
	series := []reading{{11 * time.Minute, 1}, {13 * time.Minute, 1}}
	_, err := judge(series, judged(time.Hour), cycle, tolerance{Least: 1000})
	if err == nil || !strings.Contains(err.Error(), "2 times") {
		t.Errorf("got %v, want an error that counts the rests", err)
	}
}

func TestJudged_IsTheRunWithoutItsBeginning(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{time.Hour: 10 * time.Minute, 2 * time.Hour: 10 * time.Minute, 12 * time.Minute: 4 * time.Minute} {
		if got := judged(d); got.From != want || got.To != d {
			t.Errorf("of %v judge %v to %v, want from %v", d, got.From, got.To, want)
		}
	}
}
