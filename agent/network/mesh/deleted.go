package mesh

import (
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// deletedEntries are the entries of a service that is being deleted. Every call goes to an
// activator, with the service's name and no revision, which answers that there is no such
// service any more: no draining instance gets a call, and nothing is woken.
//
// The name keeps its protocol and its timeouts. Without them Consul would turn it into a
// TCP service while its instances still answer requests.
func deletedEntries(r wadi.Route) []api.ConfigEntry {
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
