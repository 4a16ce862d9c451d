package scheduler

import "time"

// Start is how far a revision is on its way from zero. It is memory of the leader's:
// a new one takes what it finds for just begun, or for just become ready.
type Start struct {
	Began time.Time // When its count was first seen above zero; zero: it is at zero.
	Ready time.Time // When one of its instances was first seen ready after that; zero: none was.
}

// Next is the start as it is at now, by what is seen of the revision then.
func (s Start) Next(now time.Time, count, ready int, readyKnown bool) Start {
	if count == 0 {
		return Start{}
	}
	if s.Began.IsZero() {
		s.Began = now
	}
	if s.Ready.IsZero() && readyKnown && ready > 0 {
		s.Ready = now
	}
	return s
}

// startUntil is until when a start is waited for though nobody asks any more; the
// zero time if there is none: something was ready, the start has failed or took too
// long, or the revision has none to wait for.
func startUntil(in *EvalInput) time.Time {
	s := &in.Start
	until := s.Began.Add(in.Progress)
	switch {
	case s.Began.IsZero() || !s.Ready.IsZero() || in.Count == 0 || in.StartFailed:
		return time.Time{}
	case !in.Routed || in.Failed || !in.Now.Before(until):
		return time.Time{}
	}
	return until
}

// idleFor is for how long a revision has been idle: since its last request, and not
// while it starts. An instance that was woken waits for its caller's next try for as
// long as one that has served: or an app that starts more slowly than callers wait
// would never serve anybody.
func idleFor(in *EvalInput) time.Duration {
	idle := in.Loads.Concurrency.Idle
	if !startUntil(in).IsZero() {
		return 0
	}
	if !in.Start.Ready.IsZero() {
		idle = min(idle, max(0, in.Now.Sub(in.Start.Ready)))
	}
	return idle
}
