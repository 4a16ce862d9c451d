package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what a run has shown.
type result struct {
	Passed   bool          `json:"passed"`
	Length   time.Duration `json:"length_ns"` // Of the traffic; less than asked for after Ctrl-C.
	Counts   []count       `json:"requests"`
	Total    count         `json:"total"`
	Failures []string      `json:"failures"` // The first of them.
	Rests    int           `json:"rests"`
	Zero     []zero        `json:"at_zero"`
	Levels   []level       `json:"levels"`
	Brief    int           `json:"brief"`  // Queue-proxies that did not live long enough to be judged.
	Missed   int           `json:"missed"` // Readings.
	Late     time.Duration `json:"late_ns"`
	Wrong    []string      `json:"wrong"` // Why it has not passed.
}

// zero is in how many rests a service went to zero.
type zero struct {
	Service string `json:"service"`
	Times   int    `json:"times"`
}

// level is the trend of a figure of a process.
type level struct {
	Process string `json:"process"`
	Figure  string `json:"figure"`
	Flat    bool   `json:"flat"`
	trend
	unit float64
}

// lateness is how late this program may be before the table says so: what
// failed then need not be Wadi's fault. It is no excuse: the run has failed all the same.
const lateness = time.Second

// maxMissed is the share of readings that may be missed: more, and flat means nothing.
const maxMissed = 0.05

// result judges what was seen. A run that was cut short is judged by what it has.
func (s *soaking) result(asked time.Duration) *result {
	length := min(asked, time.Since(s.traffic.began))
	r := &result{Length: length, Total: s.traffic.total(), Rests: len(s.rests.cycles), Missed: s.sampler.missed, Late: s.late}
	s.traffic.mu.Lock()
	for _, c := range s.traffic.counts {
		r.Counts = append(r.Counts, *c)
	}
	r.Failures = slices.Clone(s.traffic.failures)
	s.traffic.mu.Unlock()
	slices.SortFunc(r.Counts, func(a, b count) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Kind, b.Kind))
	})
	for _, svc := range services(s.mesh) {
		if svc.min == 0 && svc.name != changing {
			r.Zero = append(r.Zero, zero{svc.name, len(s.rests.zero[svc.name])})
		}
	}
	s.judge(r)
	r.conclude(s.sampler)
	return r
}

// judge judges every process that was there all the time.
func (s *soaking) judge(r *result) {
	in := judged(r.Length)
	for _, name := range slices.Sorted(maps.Keys(s.sampler.series)) {
		var levels []level
		for _, w := range watched {
			series := s.sampler.series[name][w.metric]
			if len(series) == 0 || series[0].At > in.From+cycle || series[len(series)-1].At < in.To-cycle {
				break
			}
			t, err := judge(series, in, cycle, w.tol)
			if err != nil {
				break
			}
			levels = append(levels, level{Process: name, Figure: w.name, Flat: t.Flat(), trend: t, unit: w.unit})
		}
		if len(levels) < len(watched) {
			r.Brief++
			continue
		}
		r.Levels = append(r.Levels, levels...)
	}
}

// conclude lists what is wrong.
func (r *result) conclude(s *sampler) {
	if r.Total.Failed > 0 {
		r.Wrong = append(r.Wrong, fmt.Sprintf("%d of %d requests failed", r.Total.Failed, r.Total.Sent))
	}
	if r.Total.Answered == 0 {
		r.Wrong = append(r.Wrong, "nothing was answered")
	}
	judged, readings := map[string]bool{}, 0
	for _, l := range r.Levels {
		judged[l.Process] = true
		if !l.Flat {
			r.Wrong = append(r.Wrong, fmt.Sprintf("%s of %s grew from %.1f to %.1f at rest, by more than %.1f", l.Figure, l.Process, l.First/l.unit, l.Last/l.unit, l.Bound/l.unit))
		}
	}
	agents, proxies := 0, 0
	for p := range judged {
		if strings.HasPrefix(p, "queue-proxy ") {
			proxies++
		} else {
			agents++
		}
	}
	if agents < 3 || proxies == 0 {
		r.Wrong = append(r.Wrong, fmt.Sprintf("%d agents and %d queue-proxies could be judged, want 3 and at least one", agents, proxies))
	}
	for _, series := range s.series {
		readings += len(series[watched[1].metric])
	}
	if float64(r.Missed) > maxMissed*float64(readings) {
		r.Wrong = append(r.Wrong, fmt.Sprintf("%d readings were missed, beside %d: %v", r.Missed, readings, s.last))
	}
	for _, z := range r.Zero {
		if z.Times == 0 {
			r.Wrong = append(r.Wrong, z.Service+" was never at zero")
		}
	}
	r.Passed = len(r.Wrong) == 0
}

func (r *result) json(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// table prints the result for people.
func (r *result) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nRequests in %v\nservice\tkind\tsent\tanswered\tfailed\tslowest\n", r.Length.Round(time.Second))
	for _, c := range append(r.Counts, count{Kind: "all", Service: "all", Sent: r.Total.Sent, Answered: r.Total.Answered, Failed: r.Total.Failed, Slowest: r.Total.Slowest}) {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%v\n", c.Service, c.Kind, c.Sent, c.Answered, c.Failed, c.Slowest.Round(time.Millisecond))
	}
	in := judged(r.Length)
	fmt.Fprintf(w, "\nLevels at rest from %v on\nprocess\tfigure\tfirst third\tlast third\tmay rise by\tsees per hour\t\n", in.From.Round(time.Second))
	for _, l := range r.Levels {
		verdict := "flat"
		if !l.Flat {
			verdict = "GROWS"
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.1f\t%.1f\t%s\n", l.Process, l.Figure, l.First/l.unit, l.Last/l.unit, l.Bound/l.unit, l.Sees/l.unit, verdict)
	}
	fmt.Fprintf(w, "\n%d queue-proxies came and went, or lived too short to be judged\n", r.Brief)
	for _, z := range r.Zero {
		fmt.Fprintf(w, "%s was at zero in %d of %d rests\n", z.Service, z.Times, r.Rests)
	}
	if r.Late > lateness {
		fmt.Fprintf(w, "the machine was too busy: this program was up to %v late. An agent that can't pass its check of 4 s is lost to Consul, and its callers are refused\n", r.Late.Round(100*time.Millisecond))
	}
	for _, f := range r.Failures {
		fmt.Fprintln(w, "failed:", f)
	}
	for _, x := range r.Wrong {
		fmt.Fprintln(w, "WRONG:", x)
	}
	if r.Passed {
		fmt.Fprintln(w, "no request failed, and everything is flat")
	}
	return w.Flush()
}
