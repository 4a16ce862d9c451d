package scheduler

import (
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

// Active reports whether the pause lasts.
func (p PullPause) Active(now time.Time) bool { return now.Before(p.Until) }

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
			if ep.Ended {
				break // It had its images.
			}
			continue // It starts, and says nothing yet; or it runs, and is ready.
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

// paused reports whether the revision's image is not to be asked for now. Ready instances
// have it.
func (in *EvalInput) paused() bool {
	return in.PullPause.Active(in.Now) && in.ReadyKnown && in.Ready == 0
}

// pause leaves no instance while its image is not to be asked for, whatever is wanted.
func (e *Evaluation) pause(in *EvalInput) {
	d := &e.Decision
	if !in.paused() || d.Desired == 0 && in.Count == 0 {
		return
	}
	d.Valid, d.PausedUntil = true, in.PullPause.Until
	e.set(0, RulePull, clause{kind: clausePull, text: in.PullPause.Kind.String(), a: in.PullPause.Until.Sub(in.Now)})
}
