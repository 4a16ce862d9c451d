package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/api"
)

// prepareTimeout bounds the questions to Nomad and Consul of one reload.
const prepareTimeout = 10 * time.Second

// reloads lets one reload run at a time, and counts them.
type reloads struct {
	turn  chan struct{} // One element while a reload runs.
	files fileSums      // Of the files that were read last. The reload that runs owns it.

	total   *prometheus.CounterVec // By result.
	success prometheus.Gauge
	last    prometheus.Gauge
}

func newReloads(reg prometheus.Registerer) *reloads {
	r := &reloads{
		turn: make(chan struct{}, 1),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_config_reloads_total", Help: "Reloads of the agent's configuration: ok, or refused because of a mistake.",
		}, []string{"result"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_config_last_reload_successful", Help: "1 if the last reload of the agent's configuration succeeded, or there was none; else 0.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was loaded.",
		}),
	}
	reg.MustRegister(r.total, r.success, r.last)
	for _, result := range []string{"ok", "refused"} {
		r.total.WithLabelValues(result)
	}
	r.success.Set(1)
	r.last.SetToCurrentTime()
	return r
}

// Reload reads the configuration again and puts in force what can change without a restart:
// everything, or nothing if anything is wrong with it. The error is an [*api.Error] with
// the mistakes. One reload runs at a time; others wait as long as their ctx.
func (a *Agent) Reload(ctx context.Context) (api.Reloaded, error) {
	select {
	case a.reloads.turn <- struct{}{}:
		defer func() { <-a.reloads.turn }()
	case <-ctx.Done():
		return api.Reloaded{}, fmt.Errorf("another reload runs: %w", ctx.Err())
	}
	done, err := a.reload(ctx)
	if err != nil {
		a.reloads.total.WithLabelValues("refused").Inc()
		a.reloads.success.Set(0)
		a.logRefused(err)
		return api.Reloaded{}, err
	}
	a.reloads.total.WithLabelValues("ok").Inc()
	a.reloads.success.Set(1)
	a.reloads.last.SetToCurrentTime()
	a.log.Info("configuration reloaded", "changed", names(done.Changed))
	if len(done.Restart) > 0 {
		a.log.Warn("changed settings wait for a restart", "settings", names(done.Restart))
	}
	for _, w := range done.Warnings {
		a.log.Warn("configuration reloaded with a warning", "warning", w)
	}
	return done, nil
}

// reload is one reload. Nothing has changed if it returns an error.
func (a *Agent) reload(ctx context.Context) (api.Reloaded, error) {
	loaded, problems := a.deps.Load()
	var out api.Reloaded
	var mistakes []wadi.Problem
	for _, p := range problems {
		if p.Warning {
			out.Warnings = append(out.Warnings, p.String())
		} else {
			mistakes = append(mistakes, p)
		}
	}
	if len(mistakes) > 0 {
		return api.Reloaded{}, refusedReload(mistakes)
	}
	old := a.inForce()
	next := old.Reload(loaded)
	files := sumFiles(next)
	touched := files.changed(a.reloads.files)
	for _, c := range config.Changes(old, loaded) {
		switch {
		case !c.Live:
			out.Restart = append(out.Restart, c.Path)
		case !slices.Contains(touched, c.Path):
			touched = append(touched, c.Path)
		}
	}
	if a.log.GetLevel() != levelOf(next) && !slices.Contains(touched, "log_level") {
		touched = append(touched, "log_level") // The API has changed it since.
	}
	slices.Sort(touched)
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	var apply []func()
	for _, p := range a.reloadable() {
		if !slices.ContainsFunc(touched, p.concerns) {
			continue
		}
		do, warning, err := p.prepare(ctx, next)
		if err != nil {
			mistakes = append(mistakes, wadi.Problem{Path: p.paths[0], Message: err.Error()})
		}
		if warning != "" {
			out.Warnings = append(out.Warnings, warning)
		}
		apply = append(apply, do)
	}
	if len(mistakes) > 0 {
		return api.Reloaded{}, refusedReload(mistakes)
	}
	a.live.Store(&next)
	a.reloads.files = files
	for _, do := range apply {
		do()
	}
	if a.front.certs != nil {
		a.front.certs.Refresh() // They are also read again now and then without a reload.
	}
	if a.api.tls != nil {
		a.api.tls.Refresh() // So are these.
	}
	out.Changed = touched
	return out, nil
}

func refusedReload(mistakes []wadi.Problem) error {
	return &api.Error{Status: http.StatusUnprocessableEntity, Details: mistakes, Message: fmt.Sprintf(
		"the configuration has %s; nothing was changed", wadi.Quantity(len(mistakes), "mistake"))}
}

// logRefused logs each mistake, so that it is found also where nobody reads the answer.
func (a *Agent) logRefused(err error) {
	var refused *api.Error
	if !errors.As(err, &refused) {
		a.log.Error("configuration not reloaded; the old one stays in force", "error", err)
		return
	}
	for _, p := range refused.Details {
		a.log.Error("configuration not reloaded; the old one stays in force", "error", p.String())
	}
}

// names joins the names of settings for the log.
func names(paths []string) string {
	if len(paths) == 0 {
		return "nothing"
	}
	return strings.Join(paths, ",")
}
