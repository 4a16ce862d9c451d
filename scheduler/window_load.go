package scheduler

import "github.com/wadi-run/wadi"

// window sums what the sources report of some seconds: their loads, and how many of their
// seconds are unknown. It begins with the extrapolation for sampled sources.
type window struct {
	span64
	extrapolation
	all  int64 // The seconds of all sources in the window.
	lost int64 // The unknown ones that will never be reported.

	direct        amount // What reached instances without an activator.
	viaActivators amount // What activators queued and forwarded.
	proxied       amount // What instances report as coming through activators: a part of viaActivators.
}

// add adds one second of a source.
func (w *window) add(l *load, activator bool) {
	if activator {
		w.viaActivators.add(l.amount)
		return
	}
	w.direct.add(l.amount)
	w.proxied.add(l.proxied)
}

// inexact is how much more than the activators' count the instances may report as coming
// through them: the seconds of different sources do not begin together.
const inexact = 1.1

// unaccounted reports whether instances got more through activators than the known
// activators report: an activator is not listed, or reported only a part. Whole windows
// are compared, except for one second at their edges, as single seconds differ. Requests
// are queued before they begin, so concurrency is compared whatever the metric is.
func (w *window) unaccounted() bool {
	if w.len() < 2 {
		return false
	}
	edge := w.proxied.concurrency / float64(w.len())
	return w.proxied.concurrency-edge > inexact*w.viaActivators.concurrency+noLoad
}

// noLoad is how much sums of floating-point numbers may differ.
const noLoad = 1e-6

// mean is the load. The queue of an unlisted activator is not known, but what it forwarded
// is: the instances report it.
func (w *window) mean(m wadi.Metric) float64 {
	n := w.len()
	if n <= 0 {
		return 0
	}
	through := w.viaActivators.by(m)
	if w.unaccounted() {
		through = max(through, w.proxied.by(m))
	}
	return micro((w.sum + w.direct.by(m) + through) / float64(n))
}

// coverage is the share of the sources' seconds that are known.
func (w *window) coverage() float64 {
	if w.all > 0 {
		return float64(w.all-w.unknown) / float64(w.all)
	}
	return 1
}

// lostShare is the share of the sources' seconds that are lost.
func (w *window) lostShare() float64 {
	if w.all > 0 {
		return float64(w.lost) / float64(w.all)
	}
	return 0
}
