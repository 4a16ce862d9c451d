package scheduler

import "github.com/wadi-run/wadi"

// window is what the sources say of some seconds: with what is extrapolated to
// begin with, the sum of their loads, and how many of their seconds are unknown.
type window struct {
	span64
	extrapolation
	all  int64 // The sources' seconds in it.
	lost int64 // Of those that are unknown, the ones that nobody will tell.

	direct        amount // What reached instances by itself.
	viaActivators amount // What activators held and forwarded.
	proxied       amount // What instances say came through activators: a part of held.
}

// add takes in one second of a source.
func (w *window) add(l *load, activator bool) {
	if activator {
		w.viaActivators.add(l.amount)
		return
	}
	w.direct.add(l.amount)
	w.proxied.add(l.proxied)
}

// inexact is by how much more the instances may have had through activators than
// those say: seconds of the one do not begin with those of the other.
const inexact = 1.1

// unaccounted reports whether instances had more through activators than those tell who
// are known: there is one more, which nobody has listed, or which did not tell all.
// The sums of whole windows are compared, but for one second of them at their edges,
// as single seconds differ. Requests that wait are held before they are begun, so
// those in flight are compared whatever is measured.
func (w *window) unaccounted() bool {
	if w.len() < 2 {
		return false
	}
	edge := w.proxied.concurrency / float64(w.len())
	return w.proxied.concurrency-edge > inexact*w.viaActivators.concurrency+noLoad
}

// noLoad is what sums of floating-point numbers may differ by.
const noLoad = 1e-6

// mean is the load. What an activator that is not known holds nobody can say, but
// what it has forwarded the instances do.
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

// lostShare is the share of them that nobody will tell.
func (w *window) lostShare() float64 {
	if w.all > 0 {
		return float64(w.lost) / float64(w.all)
	}
	return 0
}
