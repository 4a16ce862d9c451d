package scheduler

import (
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

// PullPause is how long no instance of a revision is started because its image could not be
// had. Nomad tries each instance four times within some seconds, and then another one on
// another node: a registry that limits how often it is asked would be asked again at once.
// The zero value is no pause.
type PullPause struct {
	Kind   wadi.PullFailure
	Reason string    // In words, with what Nomad says.
	Since  time.Time // When the last try failed.
	Until  time.Time
}

// Active reports whether the pause lasts. One that would last longer than any does is of a
// clock that was set back since.
func (p PullPause) Active(now time.Time) bool {
	left := p.Until.Sub(now)
	return left > 0 && left <= pullPauseMax
}

const (
	// pullPauseFirst is the first pause; each further instance in a row doubles it.
	pullPauseFirst = 10 * time.Second
	pullPauseMax   = 2 * time.Minute
)

// PullPauseAfter is the pause after the last instances of a revision, oldest first, that
// lack their image. It follows from them alone, so that each agent comes to the same.
//
// A registry that has been asked too often is left alone after the first try. For any other
// reason three instances are tried as Nomad does it, each on another node if there is one,
// as another node may have the image or a way to its registry; after them, one try a pause.
func PullPauseAfter(eps []wadi.Endpoint) PullPause {
	var last wadi.Endpoint
	lacking, ended := 0, 0
	for i := len(eps) - 1; i >= 0; i-- {
		ep := eps[i]
		if ep.PullFailure == "" {
			if ep.Ended || ep.Running && !ep.Pull.Ongoing {
				break // It had its images.
			}
			continue // It starts, and says nothing yet.
		}
		if lacking++; ep.Ended {
			ended++
		}
		if ep.PullFailedAt > last.PullFailedAt {
			last = ep
		}
	}
	doublings := lacking - 1
	if last.PullFailure != wadi.PullTooMany {
		doublings = ended - unrecoverableAfter
	}
	if lacking == 0 || doublings < 0 {
		return PullPause{}
	}
	since := time.Unix(0, last.PullFailedAt)
	return PullPause{
		Kind: last.PullFailure, Reason: last.Problem, Since: since,
		Until: since.Add(min(pullPauseFirst<<min(doublings, 10), pullPauseMax)),
	}
}

// WithImage is how many instances have their image, or may get it yet, if Nomad would stop
// all others before one of them: those that lack it have the highest indices. Otherwise it
// is -1. Instances are alive unless they are stopping.
func WithImage(eps []wadi.Endpoint) (n int) {
	last, first := -1, math.MaxInt // Indices of those that have it, and of those that lack it.
	for _, ep := range eps {
		switch {
		case ep.Stopping:
		case ep.PullFailure == "":
			last = max(last, ep.Index)
			n++
		default:
			first = min(first, ep.Index)
		}
	}
	if first < last {
		return -1
	}
	return n
}

// WithTasks is how many instances have their image for certain: their tasks run. They may
// be starting, or not be ready for a moment while they answer requests.
func WithTasks(eps []wadi.Endpoint) (n int) {
	for _, ep := range eps {
		if ep.Running && !ep.Stopping && ep.PullFailure == "" && !ep.Pull.Ongoing {
			n++
		}
	}
	return n
}

// pausedAt is how many instances there may be while the revision's image is not to be asked
// for; ok is false if it may be, or if fewer instances would be fewer of those that have it.
func (in *EvalInput) pausedAt() (n int, ok bool) {
	switch {
	case !in.PullPause.Active(in.Now) || !in.ReadyKnown:
		return 0, false
	case in.Ready == 0 && in.WithTasks == 0:
		return 0, true
	}
	return in.WithImage, in.WithImage >= max(in.Ready, in.WithTasks)
}

// pause leaves only instances that have their image while it is not to be asked for,
// whatever is wanted.
func (e *Evaluation) pause(in *EvalInput) {
	d := &e.Decision
	n, ok := in.pausedAt()
	if !ok || d.Desired <= n && (n > 0 || in.Count == 0) {
		return
	}
	d.Valid, d.PausedUntil = true, in.PullPause.Until
	e.set(n, RulePull, clause{kind: clausePull, text: in.PullPause.Kind.String(), a: in.PullPause.Until.Sub(in.Now), n: n})
}
