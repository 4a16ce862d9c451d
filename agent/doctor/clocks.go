package doctor

import (
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

const (
	// clockTolerance is how far clocks may differ. Load is measured by each machine's own
	// monotonic clock; schedules, events and histories are by the clock.
	clockTolerance = 5 * time.Second
	// clockLimit is from where certificates of the mesh are refused: Consul dates them back
	// by a minute.
	clockLimit = 50 * time.Second

	aboutClocks  = "clocks"
	clocksRemedy = "let all machines keep time with NTP (chronyc tracking, timedatectl)"
)

// aboutClock judges one other clock.
func aboutClock(whose string, o survey.Offset) []wadi.Finding {
	by := o.Beyond(clockTolerance)
	if by == 0 {
		return nil
	}
	level, way := wadi.LevelWarn, "ahead of"
	what := "events and schedules are off by that"
	if max(by, -by) > clockLimit {
		level, what = wadi.LevelFail, "certificates of the mesh are refused as not yet, or no longer, good"
	}
	if by < 0 {
		way = "behind"
	}
	return []wadi.Finding{{Level: level, About: aboutClocks, Remedy: clocksRemedy,
		What: fmt.Sprintf("that of %s is at least %s %s the asking agent's: %s", whose, max(by, -by).Round(time.Second), way, what)}}
}

// aboutAgentClock judges that of another agent, whose report was made at a moment by its
// clock, and was read between two others. A report is served again for a while.
func aboutAgentClock(at, began, ended time.Time) []wadi.Finding {
	if at.IsZero() {
		return nil // Of an older agent.
	}
	return aboutClock("this agent", survey.Offset{Low: at.Sub(ended), High: at.Add(reportAge).Sub(began), Known: true})
}

// aboutNodeClocks judges the clocks of nodes together.
func aboutNodeClocks(clocks map[string]survey.Offset) []wadi.Finding {
	wrong := survey.Wrong(clocks, clockTolerance)
	if len(wrong) == 0 {
		return nil
	}
	worst := time.Duration(0)
	for _, id := range wrong {
		by := clocks[id].Beyond(clockTolerance)
		worst = max(worst, by, -by)
	}
	level := wadi.LevelWarn
	if worst > clockLimit {
		level = wadi.LevelFail
	}
	return []wadi.Finding{{Level: level, About: aboutClocks, Remedy: clocksRemedy + "; the first is node " + wrong[0],
		What: fmt.Sprintf("those of %d of %d nodes differ from the asking agent's, by %s or more: certificates of the mesh are refused from a minute on",
			len(wrong), len(clocks), worst.Round(time.Second))}}
}
