package agent

import (
	"os"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/internal/registry"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/gateway"
	"github.com/wadi-run/wadi/scheduler"
)

// What a part of the agent may change while it runs is a small struct of its own, called
// Settings, that a method Set puts in force as a whole. Here each is made of the
// configuration: at the start and at each reload by the same function.

// inForce is the configuration that is in force: that of the start, with what the reloads
// since have changed.
func (a *Agent) inForce() config.Config { return *a.live.Load() }

// admissionSettings are what submissions are judged and rendered by. gatewayURL is the
// gateway's address as seen from outside.
func admissionSettings(c config.Config, gatewayURL string, webhooks []*webhook.Webhook, download func() (jobspecs.Download, error)) admission.Settings {
	return admission.Settings{
		Rules: c.AdmissionRules, Webhooks: webhooks,
		AllowIntentions: c.Consul.AllowIntentions, Download: download,
		Defaults: c.Defaults, Limits: c.Limits, MaxBytes: c.Limits.MaxSpecBytes, MaxServices: c.MaxServices, GatewayDomain: c.Gateway.Domain,
		Agent: jobspecs.Agent{
			QueueProxyTask: c.QueueProxyTask, SidecarTask: c.SidecarTask, GatewayURL: gatewayURL,
			AccessLog: c.Telemetry.AccessLog, Shield: c.Mesh.Shield,
		},
	}
}

func apiSettings(c config.Config) server.Settings {
	return server.Settings{
		MaxSpecBytes: c.Limits.MaxSpecBytes, MaxInstances: c.Limits.MaxInstances, GatewayDomain: c.Gateway.Domain,
		AllowedHosts: slices.Concat(ownNames(c.Advertise), c.HTTP.AllowedHosts), RequestsPerSecond: c.HTTP.RequestsPerSecond,
	}
}

// ownNames are the names of this machine by which the API may be called.
func ownNames(advertise string) (names []string) {
	host, _ := os.Hostname() // Empty: not known.
	for _, n := range []string{advertise, host} {
		if n != "" {
			names = append(names, strings.ToLower(n))
		}
	}
	return names
}

func controlSettings(c config.Config) control.Settings {
	return control.Settings{
		Retention: scheduler.Retention{
			KeepFor: c.Retention.KeepFor, KeepActiveFor: c.Retention.KeepActiveFor, Max: c.Retention.Max,
		},
		Ceiling: c.Limits.MaxInstances,
	}
}

func activatorSettings(c config.Config) activator.Settings {
	return activator.Settings{
		MaxWaiting: c.Activator.MaxWaiting, MaxWaitingBytes: c.Activator.MaxWaitingBytes,
		MaxWakes:       float64(c.Activator.MaxWakes),
		RequestRecords: c.Telemetry.AccessLog || c.Telemetry.OTLPEndpoint != "",
	}
}

func registrySettings(c config.Config) registry.Settings {
	i := c.Images
	return registry.Settings{
		Timeout: i.Timeout, DockerConfig: i.DockerConfig, CAFile: i.CAFile, CertsDir: i.CertsDir,
		AllowNetworks: i.AllowNetworks, InsecureRegistries: i.InsecureRegistries,
	}
}

func gatewaySettings(c config.Config) gateway.Settings {
	return gateway.Settings{Domain: c.Gateway.Domain, TrustedProxies: c.Gateway.TrustedProxies}
}
