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

const (
	// prepareTimeout bounds all of a reload that may take time: its files are read, and Nomad
	// and Consul asked.
	prepareTimeout = 10 * time.Second
	// askTimeout bounds each of these questions, so that one without an answer is a warning
	// before the reload ends.
	askTimeout = 3 * time.Second
)

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
	case <-ctx.Done():
		return api.Reloaded{}, fmt.Errorf("another reload runs: %w: %w", wadi.ErrUnavailable, ctx.Err())
	}
	planned, err := a.planReload(ctx)
	switch { // Its turn ends when it does.
	case errors.Is(err, errCallerGone):
		return api.Reloaded{}, err // It says nothing about the configuration.
	case errors.Is(err, errReloadHangs):
		a.noteRefused(err)
		return api.Reloaded{}, err
	}
	defer func() { <-a.reloads.turn }()
	if err != nil {
		a.noteRefused(err)
		return api.Reloaded{}, err
	}
	a.applyReload(planned)
	return planned.done, nil
}

// reloadPlan is a reload that is ready to be applied.
type reloadPlan struct {
	next  config.Config
	files fileSums
	apply []func() // None fails.
	done  api.Reloaded
}

// errReloadHangs: a file could not be read in time. A named pipe without a writer, or a
// network file system that is away, may take for ever.
var errReloadHangs = fmt.Errorf("the configuration, or a file that it names, can't be read within %s: %w", prepareTimeout, wadi.ErrUnavailable)

// errCallerGone: a question to Nomad or Consul may have ended with the caller, which is no
// sign that they are away.
var errCallerGone = errors.New("the caller did not wait for the reload, and nothing was changed")

// planReload prepares a reload, in time. After errReloadHangs and errCallerGone the turn
// ends with what may still run.
func (a *Agent) planReload(caller context.Context) (reloadPlan, error) {
	type result struct {
		plan reloadPlan
		err  error
	}
	ctx, cancel := context.WithTimeout(caller, prepareTimeout)
	defer cancel()
	ended := make(chan result, 1)
	go func() {
		plan, err := a.prepareReload(ctx)
		ended <- result{plan, err}
	}()
	select {
	case r := <-ended:
		if caller.Err() == nil {
			return r.plan, r.err
		}
		<-a.reloads.turn
	case <-ctx.Done():
		go func() {
			<-ended
			<-a.reloads.turn
		}()
	}
	if caller.Err() != nil {
		return reloadPlan{}, fmt.Errorf("%w: %w", errCallerGone, caller.Err())
	}
	return reloadPlan{}, errReloadHangs
}

// prepareReload does all of a reload that may fail. It changes nothing.
func (a *Agent) prepareReload(ctx context.Context) (reloadPlan, error) {
	loaded, problems := a.deps.Load()
	var mistakes []wadi.Problem
	var p reloadPlan
	for _, found := range problems {
		if found.Warning {
			p.done.Warnings = append(p.done.Warnings, found.String())
		} else {
			mistakes = append(mistakes, found)
		}
	}
	if len(mistakes) > 0 {
		return p, refusedReload(mistakes)
	}
	old := a.inForce()
	p.next = old.Reload(loaded)
	p.files = sumFiles(p.next)
	p.done.Changed, p.done.Restart = a.changedSettings(old, loaded, p.files)
	for _, part := range a.reloadable() {
		if !slices.ContainsFunc(p.done.Changed, part.concerns) {
			continue
		}
		apply, warning, err := part.prepare(ctx, p.next)
		if err != nil {
			mistakes = append(mistakes, wadi.Problem{Path: part.paths[0], Message: err.Error()})
		}
		if warning != "" {
			p.done.Warnings = append(p.done.Warnings, warning)
		}
		p.apply = append(p.apply, apply)
	}
	if len(mistakes) > 0 {
		return p, refusedReload(mistakes)
	}
	return p, nil
}

// changedSettings lists the settings that change with a reload, and those that wait for a restart.
func (a *Agent) changedSettings(old, loaded config.Config, files fileSums) (changed, restart []string) {
	changed = files.changed(a.reloads.files)
	for _, c := range config.Changes(old, loaded) {
		if c.Live {
			changed = append(changed, c.Path)
		} else {
			restart = append(restart, c.Path)
		}
	}
	if a.log.GetLevel() != levelOf(old) { // The API has changed it since.
		changed = append(changed, "log_level")
	}
	slices.Sort(changed)
	return slices.Compact(changed), restart
}

// applyReload puts a plan in force.
func (a *Agent) applyReload(p reloadPlan) {
	a.live.Store(&p.next)
	a.reloads.files = p.files
	for _, do := range p.apply {
		do()
	}
	if a.front.certs != nil {
		a.front.certs.Refresh() // They are also read again now and then without a reload.
	}
	if a.api.tls != nil {
		a.api.tls.Refresh() // So are these.
	}
	a.reloads.total.WithLabelValues("ok").Inc()
	a.reloads.success.Set(1)
	a.reloads.last.SetToCurrentTime()
	a.log.Info("configuration reloaded", "changed", names(p.done.Changed))
	if len(p.done.Restart) > 0 {
		a.log.Warn("changed settings wait for a restart", "settings", names(p.done.Restart))
	}
	for _, w := range p.done.Warnings {
		a.log.Warn("configuration reloaded with a warning", "warning", w)
	}
}

func refusedReload(mistakes []wadi.Problem) error {
	return &api.Error{Status: http.StatusUnprocessableEntity, Details: mistakes, Message: fmt.Sprintf(
		"the configuration has %s; nothing was changed", wadi.Quantity(len(mistakes), "mistake"))}
}

// noteRefused counts a refusal, and logs each mistake, so that it is found also where nobody
// reads the answer.
func (a *Agent) noteRefused(err error) {
	a.reloads.total.WithLabelValues("refused").Inc()
	a.reloads.success.Set(0)
	mistakes := []string{err.Error()}
	if refused := (*api.Error)(nil); errors.As(err, &refused) {
		mistakes = nil
		for _, p := range refused.Details {
			mistakes = append(mistakes, p.String())
		}
	}
	for _, m := range mistakes {
		a.log.Error("configuration not reloaded; the old one stays in force", "error", m)
	}
}

// names joins the names of settings for the log.
func names(paths []string) string {
	if len(paths) == 0 {
		return "nothing"
	}
	return strings.Join(paths, ",")
}
