package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/apitls"
	"github.com/wadi-run/wadi/internal/consul"
)

// reloadable is a part of the agent that changes with a reload.
type reloadable struct {
	// paths are the settings, or the blocks, that it has to do with.
	paths []string
	// prepare does all of the change that may fail, and changes nothing yet. The warning
	// is for the operator; empty: none.
	prepare func(ctx context.Context, next config.Config) (apply func(), warning string, err error)
}

// concerns reports whether the part has to do with a setting.
func (r reloadable) concerns(path string) bool {
	for _, p := range r.paths {
		if path == p || strings.HasPrefix(path, p+".") {
			return true
		}
	}
	return false
}

// always is a change that can't fail.
func always(apply func(next config.Config)) func(context.Context, config.Config) (func(), string, error) {
	return func(_ context.Context, next config.Config) (func(), string, error) {
		return func() { apply(next) }, "", nil
	}
}

// reloadable are all parts that change with a reload. A test holds it to the settings that
// package config says are live: each has a part, and no part waits for another one.
func (a *Agent) reloadable() []reloadable {
	return []reloadable{
		{[]string{"nomad"}, a.prepareNomad},
		{[]string{"consul.token", "consul.token_file", "consul.ca_file", "consul.cert_file", "consul.key_file"}, a.prepareConsul},
		{[]string{"http.tls"}, a.prepareAPITLS},
		{[]string{"log_level"}, always(func(next config.Config) { a.log.SetLevel(levelOf(next)) })},
		{[]string{"log_json"}, always(func(next config.Config) {
			if a.deps.LogJSON != nil {
				a.deps.LogJSON(next.LogJSON)
			}
		})},
		{[]string{"telemetry.access_log"}, always(func(next config.Config) { a.telemetry.SetAccessLog(next.Telemetry.AccessLog) })},
		{[]string{"activator", "telemetry.access_log"}, always(func(next config.Config) { a.activator.Set(activatorSettings(next)) })},
		{[]string{"gateway"}, always(a.reloadGateway)},
		{[]string{"limits", "retention"}, always(func(next config.Config) { a.control.Set(controlSettings(next)) })},
		{[]string{"limits", "gateway.domain", "http.allowed_hosts", "http.requests_per_second"}, always(func(next config.Config) { a.api.server.Set(apiSettings(next)) })},
		{[]string{"images"}, a.prepareImages},
		{
			[]string{
				"admission", "admission_meta", "admission_tasks", "defaults", "limits", "queue_proxy", "assets", "mesh",
				"consul.allow_intentions", "telemetry.access_log", "gateway",
			},
			a.prepareAdmission,
		},
	}
}

func levelOf(c config.Config) hclog.Level { return hclog.LevelFromString(c.LogLevel) }

func (a *Agent) reloadGateway(next config.Config) {
	a.warnOfConflicts(a.gateway.Set(gatewaySettings(next)))
	a.front.gateway.Trust(next.Gateway.TrustedProxies)
	if a.front.tls != nil {
		a.front.tls.Trust(next.Gateway.TrustedProxies)
	}
}

// prepareAdmission reads the webhooks' files.
func (a *Agent) prepareAdmission(_ context.Context, next config.Config) (func(), string, error) {
	all, err := a.webhooks.open(next.Webhooks)
	return func() {
		a.api.admission.Set(admissionSettings(next, a.front.urlBy(next.Gateway, ""), all, a.download(next.Assets)))
		a.webhooks.use(all)
	}, "", err
}

// prepareImages reads the files that registries are asked with.
func (a *Agent) prepareImages(_ context.Context, next config.Config) (func(), string, error) {
	apply, err := a.registries.Prepare(registrySettings(next))
	return apply, "", err
}

// prepareAPITLS reads the new files. Their renewed content is also read without a reload.
func (a *Agent) prepareAPITLS(_ context.Context, next config.Config) (func(), string, error) {
	files := apiFiles(next.HTTP.TLS)
	if _, err := apitls.Load(files, hclog.NewNullLogger()); err != nil {
		return nil, "", err
	}
	return func() {
		if err := a.api.tls.Change(files); err != nil { // They were good a moment ago.
			a.log.Error("certificate of the API not loaded, going on with what was there", "error", err)
		}
	}, "", nil
}

// prepareNomad makes a client with the new credentials. A token that Nomad does not know is
// refused: the agent would stand still with it.
func (a *Agent) prepareNomad(ctx context.Context, next config.Config) (func(), string, error) {
	fresh, err := newNomad(next.Nomad)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err = fresh.Known(ctx, fresh.Token())
	warning, err := unlessAway("Nomad", "nomad.token", err)
	return func() { a.nomad.Use(fresh) }, warning, err
}

// prepareConsul makes a client with the new credentials, which have to be good for Wadi's
// own keys.
func (a *Agent) prepareConsul(ctx context.Context, next config.Config) (func(), string, error) {
	fresh, err := newConsul(next.Consul)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	lacks, err := fresh.Lacks(ctx, []consul.Right{{Resource: "key", Segment: next.Consul.Prefix + "leader", Access: "write"}})
	if err == nil && len(lacks) > 0 {
		err = fmt.Errorf("may not write %s: %w", lacks[0].Segment, wadi.ErrForbidden)
	}
	warning, err := unlessAway("Consul", "consul.token", err)
	return func() { a.consul.Use(fresh) }, warning, err
}

// unlessAway tells refused credentials, which are a mistake, from a backend that can't be
// asked, which may be why the credentials are replaced.
func unlessAway(backend, setting string, err error) (warning string, mistake error) {
	switch {
	case err == nil:
		return "", nil
	case errors.Is(err, wadi.ErrForbidden), errors.Is(err, wadi.ErrOwnRight):
		return "", fmt.Errorf("%s refuses the new %s: %w", backend, setting, err)
	}
	return fmt.Sprintf("%s can't be asked whether the new credentials are good: %v", backend, err), nil
}
