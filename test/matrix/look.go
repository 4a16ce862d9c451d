//go:build e2e

package matrix

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
)

// look returns the conditions that are false, of all services, as a healthy agent says.
func (w *World) look(ctx context.Context) map[string]bool {
	all := map[string]bool{}
	a, err := w.healthy(ctx)
	if err != nil {
		if ctx.Err() == nil {
			all["no agent is healthy"] = true
		}
		return all
	}
	for _, name := range w.services() {
		ask, cancel := context.WithTimeout(ctx, 2*time.Second)
		s, err := a.Client.Service(ask, name)
		cancel()
		if err != nil {
			continue // The agent's health says why.
		}
		for _, c := range s.Status.Conditions {
			if !c.OK {
				all[fmt.Sprintf("%s: %s is false (%s): %s", name, c.Type, c.Reason, c.Message)] = true
			}
		}
	}
	return all
}

// findings returns what wadi doctor finds that is not in order.
func (w *World) findings(ctx context.Context) map[string]bool {
	all := map[string]bool{}
	for _, a := range w.Agents {
		ask, cancel := context.WithTimeout(ctx, 15*time.Second)
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
