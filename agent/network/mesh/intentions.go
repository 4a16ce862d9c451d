package mesh

import (
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// everyone is a source that stands for every service.
const everyone = "*"

// intentions allow the callers that the route allows, the activator, and for a public
// service the gateway. All other callers are refused.
//
// Only the service's own name has them. An instance enforces them under that name,
// whichever name the caller dialled, and the activator authorizes by the service that a
// header names: neither a tag's name nor the other two activators' need any.
func intentions(r wadi.Route) api.ConfigEntry {
	allow := append(slices.Clone(r.Intentions.Allow), wadi.ServiceActivator)
	if r.Visibility != wadi.MeshOnly {
		allow = append(allow, wadi.ServiceGateway)
	}
	slices.Sort(allow)
	e := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: r.Service, Meta: meta(r.Service)}
	last := api.IntentionActionDeny
	for _, name := range slices.Compact(allow) {
		if name == everyone {
			last = api.IntentionActionAllow
			continue
		}
		e.Sources = append(e.Sources, &api.SourceIntention{Name: name, Action: api.IntentionActionAllow})
	}
	// Precedence orders sources, not the list; the one for all reads best at the end.
	e.Sources = append(e.Sources, &api.SourceIntention{Name: everyone, Action: last})
	return e
}
