package mesh

import (
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// farewell are the entries of a service that is being deleted. Every call goes to an
// activator, with the service's name and no revision, and is told that there is no such
// service any more: an instance that is to end gets none, and nothing is woken.
//
// The name keeps its protocol and its timeouts. Without them Consul would make a TCP
// service of it under the requests that its instances still answer.
func farewell(r wadi.Route) []api.ConfigEntry {
	return []api.ConfigEntry{
		defaults(r),
		resolver(r, nil),
		&api.ServiceSplitterConfigEntry{
			Kind: api.ServiceSplitter, Name: r.Service, Meta: meta(r.Service),
			Splits: []api.ServiceSplit{{Weight: 100, Service: wadi.ActivatorOf(r.Protocol), RequestHeaders: headers(r.Service, "")}},
		},
		router(r, nil),
	}
}
