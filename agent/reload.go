package agent

import (
	"reflect"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/config"
)

// Reload takes in what of a new configuration needs no restart: the log level, which
// somebody may have set otherwise meanwhile, and the certificates of the gateway, which
// are looked at anyway. It returns the settings that have changed and wait for a restart.
func (a *Agent) Reload(next config.Config) []string {
	a.log.SetLevel(hclog.LevelFromString(next.LogLevel))
	if a.front.certs != nil {
		a.front.certs.Refresh()
	}
	next.LogLevel = a.cfg.LogLevel
	return differing(a.cfg, next)
}

// differing names the settings and blocks of the configuration in which two differ.
func differing(a, b config.Config) []string {
	names := map[string]string{ // Where it is not the field's in lower case.
		"LogJSON": "log_json", "QueueProxyTask": "queue_proxy", "SidecarTask": "mesh.sidecar_task",
	}
	var out []string
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			continue
		}
		field := x.Type().Field(i).Name
		if name, ok := names[field]; ok {
			field = name
		}
		out = append(out, strings.ToLower(field))
	}
	return out
}
