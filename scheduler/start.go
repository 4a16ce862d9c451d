package scheduler

import "time"

// Start is how far a revision is on its way from zero. It is in the leader's memory only:
// a new leader takes what it finds as just begun, or as just become ready.
type Start struct {
	Began time.Time // When the count was first seen above zero; zero: it is at zero.
	Ready time.Time // When an instance was first seen ready after that; zero: none yet.
}

// Next is the start at now, given the revision's current count and ready instances.
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

// startUntil is how long a start is kept although no request comes. It is the zero time if
// there is nothing to wait for: an instance was ready, or the start has failed or taken
// too long.
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

// idleFor is how long a revision has been idle: since its last request, and since it
// became ready. A woken instance stays for the caller's next try as long as one that has
// served; otherwise an app that starts more slowly than callers wait would never serve.
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
