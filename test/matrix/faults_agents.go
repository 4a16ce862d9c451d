//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// inFlightAtAgent allows the requests that were under way at an agent that was killed. Calls
// from the mesh are among them if they waited there for an instance: for those, Envoy answers.
var inFlightAtAgent = Allowed{
	Why: "in flight at the killed agent",
	Is: func(h Hit, r Result) bool {
		if !r.Began.Before(h.Broken) || !r.Ended.After(h.Began) {
			return false
		}
		return r.Via == h.Agent && r.Status == 0 || r.Via == ViaMesh && r.Status == 503 && r.Reason == ""
	},
}

func agentFaults() []Fault {
	return []Fault{
		{
			Group: GroupAgents, Name: "the leader is killed", Promise: "the leader dies", Short: true, For: 5 * time.Second,
			Break:   func(ctx context.Context, w *World) (func(context.Context) error, error) { return w.kill(ctx, leads) },
			During:  anotherLeads,
			Allowed: []Allowed{inFlightAtAgent},
		},
		{
			Group: GroupAgents, Name: "the leader is paused", Promise: "the leader is paused, or loses its lock unnoticed", For: 8 * time.Second,
			Break:  func(ctx context.Context, w *World) (func(context.Context) error, error) { return w.pause(ctx, leads) },
			During: anotherLeads,
		},
		{
			Group: GroupAgents, Name: "a follower is killed", Promise: "the leader dies", For: 5 * time.Second,
			Break:   func(ctx context.Context, w *World) (func(context.Context) error, error) { return w.kill(ctx, follows) },
			Allowed: []Allowed{inFlightAtAgent},
		},
		{
			Group: GroupAgents, Name: "a follower is paused", Promise: "the leader is paused, or loses its lock unnoticed", For: 8 * time.Second,
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) { return w.pause(ctx, follows) },
		},
		{
			Group: GroupAgents, Name: "all agents are killed, and started again", Promise: "all agents are down", Short: true, For: 5 * time.Second,
			Break: killAll,
			Allowed: []Allowed{inFlightAtAgent, {
				Why: "through a gateway, while no agent runs",
				Is:  func(h Hit, r Result) bool { return r.Via != ViaMesh && r.Began.Before(h.Mended) },
			}},
		},
		{
			Group: GroupAgents, Name: "all agents restart, one after the other", Promise: "all agents are down",
			Break: restartAll,
		},
	}
}

// leads and follows choose an agent.
func leads(leader, a *harness.Agent) bool   { return a == leader }
func follows(leader, a *harness.Agent) bool { return a != leader }

// choose is the first agent for which is says so, and notes that it is hit.
func (w *World) choose(ctx context.Context, is func(leader, a *harness.Agent) bool) (*harness.Agent, error) {
	leader, err := w.Leader(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range w.Agents {
		if is(leader, a) {
			w.Hit.Agent = a.Name
			return a, nil
		}
	}
	return nil, errors.New("there is no such agent")
}

func (w *World) kill(ctx context.Context, is func(leader, a *harness.Agent) bool) (mend func(context.Context) error, err error) {
	a, err := w.choose(ctx, is)
	if err != nil {
		return nil, err
	}
	return a.Start, a.Kill()
}

func (w *World) pause(ctx context.Context, is func(leader, a *harness.Agent) bool) (mend func(context.Context) error, err error) {
	a, err := w.choose(ctx, is)
	if err != nil {
		return nil, err
	}
	return func(context.Context) error { return a.Signal(syscall.SIGCONT) }, signal(ctx, a.PID(), syscall.SIGSTOP, "T")
}

func killAll(_ context.Context, w *World) (mend func(context.Context) error, err error) {
	mend = func(ctx context.Context) error {
		for _, a := range w.Agents {
			if err := a.Start(ctx); err != nil {
				return err
			}
		}
		for _, a := range w.Agents {
			if err := a.WaitLeader(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	for _, a := range w.Agents {
		err = errors.Join(err, a.Kill())
	}
	return mend, err
}

func restartAll(_ context.Context, w *World) (mend func(context.Context) error, err error) {
	return func(ctx context.Context) error {
		for _, a := range w.Agents {
			if err := a.Stop(ctx); err != nil {
				return err
			}
			if err := a.Start(ctx); err != nil {
				return err
			}
			if err := a.WaitLeader(ctx); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// anotherLeads waits until the agents that were not hit agree that one of them leads.
func anotherLeads(ctx context.Context, w *World, row *Row) error {
	name := ""
	for _, a := range w.Agents {
		if a.Name == w.Hit.Agent {
			continue
		}
		l, err := w.leaderBy(ctx, a)
		switch {
		case err != nil:
			return err
		case l == w.Hit.Agent:
			return fmt.Errorf("%s still says that %s leads", a.Name, l)
		case name != "" && name != l:
			return fmt.Errorf("one says that %s leads, another that %s does", name, l)
		}
		name = l
	}
	row.Note("another agent led after %s", since(w.Hit.Broken))
	return nil
}

// since is the time since then, to a tenth of a second.
func since(t time.Time) string { return time.Since(t).Round(100 * time.Millisecond).String() }
