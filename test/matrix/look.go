//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// look returns the conditions that are false, of all services, as the first agent says that
// answers.
func (w *World) look(ctx context.Context) map[string]bool {
	all := map[string]bool{}
	for _, a := range w.askable() {
		if w.lookBy(ctx, a, all) == nil || ctx.Err() != nil {
			return all
		}
	}
	all["no agent answers wadi service status"] = true
	return all
}

// lookBy adds the conditions as an agent says. A service that is deleted meanwhile has none.
func (w *World) lookBy(ctx context.Context, a *harness.Agent, all map[string]bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := a.Client.Services(ctx)
	if err != nil {
		return err
	}
	for _, summary := range list {
		s, err := a.Client.Service(ctx, summary.Name)
		if err != nil && !errors.Is(err, wadi.ErrNotFound) {
			return err
		}
		for _, c := range s.Status.Conditions {
			if !c.OK && s.Status.Phase != "deleting" {
				all[fmt.Sprintf("%s: %s is false (%s): %s", summary.Name, c.Type, c.Reason, c.Message)] = true
			}
		}
	}
	return nil
}

// findings returns what wadi doctor finds that is not in order.
func (w *World) findings(ctx context.Context) map[string]bool {
	all := map[string]bool{}
	for _, a := range w.askable() {
		ask, cancel := context.WithTimeout(ctx, 10*time.Second)
		d, err := a.Client.Doctor(ask)
		cancel()
		if err != nil {
			continue // Another one may answer.
		}
		for _, report := range d.Agents {
			for _, f := range report.Findings {
				if f.Level != wadi.LevelOK {
					all[fmt.Sprintf("%s: %s: %s", f.Level, f.About, f.What)] = true
				}
			}
		}
		return all
	}
	all["no agent answers wadi doctor"] = true
	return all
}

// askable are the agents, the one that is hit last: it may be paused, and hold up who asks.
func (w *World) askable() []*harness.Agent {
	var first, last []*harness.Agent
	for _, a := range w.Agents {
		if a.Name == w.Hit.Agent {
			last = append(last, a)
		} else {
			first = append(first, a)
		}
	}
	return append(first, last...)
}
