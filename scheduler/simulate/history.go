package simulate

import (
	"cmp"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// Bounds of the time that an instance is taken to need for a request.
const (
	minService = step
	maxStretch = 4 // Times the usual: a longer one is mostly waiting for an instance.
	streamed   = time.Minute
)

// OfHistory is the load that a service had, as a trace. Of each minute the number of requests
// is exact, and so is the number that began in its busiest second, which comes first; all
// other requests are spread evenly. A request takes as long as the average of its minute,
// within bounds, as that includes the waiting for instances. Minutes that are not known have
// no load. The trace is empty if h is.
func OfHistory(h wadi.LoadHistory) Trace {
	t := Trace{Begin: time.Unix(h.Begin, 0).UTC(), StartUp: 5 * time.Second}
	usual := usualService(h)
	for i := range h.Minutes() {
		t.Points = append(t.Points, minute(h, i, usual)...)
	}
	if n := h.Minutes(); n > 0 {
		t.Points = append(t.Points, Point{At: time.Duration(n) * time.Minute, Service: minService})
	}
	return t
}

// minute is the load of one minute.
func minute(h wadi.LoadHistory, i int, usual time.Duration) []Point {
	at := time.Duration(i) * time.Minute
	requests, most := max(0, h.Requests[i]), min(h.PeakRate[i], h.Requests[i])
	switch service := took(h, i); {
	case service > streamed, requests == 0 && h.Concurrency[i] > 0: // Streams: they are there for longer than the minute.
		return []Point{{At: at, Concurrency: h.Concurrency[i], Service: streamed}}
	case requests == 0:
		return []Point{{At: at, Service: usual}}
	default:
		service = min(max(service, minService), maxStretch*usual)
		return []Point{
			{At: at, RPS: most, Service: service},
			{At: at + time.Second, RPS: (requests - most) / 59, Service: service},
		}
	}
}

// took is how long a request of a minute was there on average, rounded to the resolution of
// the simulation; 0: there was none.
func took(h wadi.LoadHistory, i int) time.Duration {
	if h.Requests[i] <= 0 {
		return 0
	}
	return seconds(min(h.Concurrency[i]*60/h.Requests[i], maxService.Seconds()))
}

// usualService is the median of the times that requests took.
func usualService(h wadi.LoadHistory) time.Duration {
	type minute struct {
		took     time.Duration
		requests float64
	}
	var all []minute
	var total float64
	for i := range h.Minutes() {
		if s := took(h, i); s > 0 && s <= streamed {
			all = append(all, minute{s, h.Requests[i]})
			total += h.Requests[i]
		}
	}
	slices.SortFunc(all, func(a, b minute) int { return cmp.Compare(a.took, b.took) })
	half := total / 2
	for _, m := range all {
		if half -= m.requests; half <= 0 {
			return max(minService, m.took)
		}
	}
	return minService
}
