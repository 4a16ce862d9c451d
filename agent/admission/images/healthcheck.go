package images

import (
	"fmt"

	"github.com/wadi-run/wadi"
)

// Config is what is read of the config of an image at its registry.
type Config struct {
	Healthcheck bool // The image has a HEALTHCHECK.
}

// Inspectable is the image of the task that serves, if its config is of interest: Docker runs
// it, its registry is asked, and neither its HEALTHCHECK is switched off nor a probe was chosen.
func Inspectable(s wadi.Service, tasks []Task) (Task, bool) {
	if s.Probe.HTTP != "" || s.Probe.TCP || s.Probe.GRPC != nil || s.ResolveImages == wadi.ResolveOff {
		return Task{}, false
	}
	for _, t := range tasks {
		if t.Task == s.ServingTask && !t.Own && t.Driver == wadi.DriverDocker && !t.NoHealthcheck && t.Ask != "" {
			return t, true
		}
	}
	return Task{}, false
}

// HealthcheckWarning says that nobody looks at an image's HEALTHCHECK; empty: it has none.
func HealthcheckWarning(t Task, c Config) string {
	if !c.Healthcheck {
		return ""
	}
	return fmt.Sprintf("image of task %s: %.200q has a HEALTHCHECK, which Docker runs and whose result neither Nomad nor Wadi sees; "+
		"use probe { … } for readiness, or healthchecks { disable = true } in the task's config", t.Task, wadi.OneLine(t.Name, maxName))
}
