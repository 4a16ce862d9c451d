package agent

import (
	"reflect"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/config"
)

// Reload applies the settings that need no restart: the log level, even if the API has
// changed it since, and the gateway's certificates, which are also read again now and then
// without it. It returns the names of the changed settings that need a restart.
func (a *Agent) Reload(next config.Config) []string {
	a.log.SetLevel(hclog.LevelFromString(next.LogLevel))
	if a.front.certs != nil {
		a.front.certs.Refresh()
	}
	if a.api.tls != nil {
		a.api.tls.Refresh()
	}
	next.LogLevel = a.cfg.LogLevel
	return differing(a.cfg, next)
}

// differing returns the names of the settings and blocks in which two configurations differ.
func differing(a, b config.Config) []string {
	names := map[string]string{ // By field; the others have the name of their field.
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
