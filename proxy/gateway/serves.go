package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// Serves reports whether the route is in force in this gateway, and explains if not: each
// of its hosts leads to its targets, or none does if it is for the mesh only. A host that
// another service has is explained too, but the route counts as in force: the service
// answers under its own name, and a retry would not change the rest. Without its own name
// it is not in force.
func (g *Gateway) Serves(r wadi.Route) (ok bool, why string) {
	present := g.table.Load()
	domain := g.settings.Load().Domain
	wanted, _ := BuildTable(map[string]wadi.Route{r.Service: r}, domain)
	own := normalize(r.Service + "." + domain)
	if row := present.rows[own]; wanted.rows[own] == nil && row != nil && row.service == r.Service {
		return false, "the gateway still serves host " + own
	}
	var taken []string
	for _, host := range slices.Sorted(maps.Keys(wanted.rows)) {
		row := present.rows[host]
		switch {
		case row == nil:
			return false, "the gateway does not serve host " + host + " yet"
		case row.service != r.Service && host == own:
			return false, Conflict{Host: host, Service: r.Service, Holder: row.service}.String()
		case row.service != r.Service:
			taken = append(taken, fmt.Sprintf("host %s is held by service %s", host, row.service))
		case !row.equal(wanted.rows[host]):
			return false, "the gateway serves host " + host + " by an earlier route"
		}
	}
	return true, strings.Join(taken, "; ")
}

// equal reports whether two rows of one service treat requests alike.
func (r *row) equal(other *row) bool {
	return slices.Equal(r.targets, other.targets) && maps.Equal(r.tags, other.tags) && r.sticky.equal(other.sticky) &&
		r.mirror.equal(other.mirror) && r.rules.Equal(other.rules)
}
