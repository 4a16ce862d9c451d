package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/rules"
)

// Table maps hosts to services. It never changes.
type Table struct {
	rows map[string]*row // By host, in lower case.
}

// row is a service at a host.
type row struct {
	service string
	targets []wadi.RouteTarget
	total   int               // Sum of the targets' weights.
	tags    map[string]string // The revision of each tag that a header may ask for.
	sticky  *sticky           // Nil: each request is split by itself.
	mirror  *mirror           // Nil: no request is copied.
	rules   rules.Set
	others  map[string]*row // The public services to which rules lead.
}

// Conflict is a host that two services claim.
type Conflict struct {
	Host    string
	Service string // The service that does not get it.
	Holder  string
}

func (c Conflict) String() string {
	return fmt.Sprintf("host %s of service %s belongs to service %s", c.Host, c.Service, c.Holder)
}

// BuildTable builds the table of the public services in routes, keyed by service, without
// those that are being deleted. A service's own name below domain takes precedence over
// tags' names, and these over custom domains; within a kind the service whose name sorts
// first wins.
func BuildTable(routes map[string]wadi.Route, domain string) (*Table, []Conflict) {
	t := &Table{rows: make(map[string]*row, len(routes))}
	var conflicts []Conflict
	claim := func(host string, r *row) {
		host = normalize(host)
		if holder := t.rows[host]; holder == nil {
			t.rows[host] = r
		} else if holder != r {
			conflicts = append(conflicts, Conflict{Host: host, Service: r.service, Holder: holder.service})
		}
	}
	public := make(map[string]*row)
	names := slices.Sorted(maps.Keys(routes))
	for _, name := range names {
		if route := routes[name]; route.Visibility != wadi.MeshOnly && !route.Deleted() {
			public[name] = newRow(route)
			claim(route.Service+"."+domain, public[name])
		}
	}
	for _, name := range names {
		if r := public[name]; r != nil {
			for _, target := range routes[name].Targets {
				if target.Tag != "" {
					claim(wadi.TagName(target.Tag, r.service)+"."+domain, tagRow(r.service, target))
				}
			}
		}
	}
	for _, name := range names {
		if r := public[name]; r != nil {
			for _, d := range routes[name].Domains {
				claim(d, r)
			}
		}
	}
	for name, r := range public {
		for _, rule := range routes[name].Rules {
			if other := public[rule.Service]; other != nil {
				if r.others == nil {
					r.others = map[string]*row{}
				}
				r.others[rule.Service] = other
			}
		}
	}
	return t, conflicts
}

func newRow(route wadi.Route) *row {
	r := &row{
		service: route.Service, tags: map[string]string{}, sticky: newSticky(route), mirror: newMirror(route), rules: rules.Of(route.Rules),
	}
	for _, t := range route.Targets {
		if t.Tag != "" {
			r.tags[t.Tag] = t.Revision
		}
		if t.Weight > 0 { // A target without weight is reached by its tag only.
			r.targets = append(r.targets, t)
			r.total += t.Weight
		}
	}
	return r
}

// tagRow is a service under a tag's own name: all requests go to the tag's revision, whatever
// the tag header says.
func tagRow(service string, t wadi.RouteTarget) *row {
	t.Weight = wadi.WeightAll
	return &row{service: service, targets: []wadi.RouteTarget{t}, total: t.Weight}
}

// lookup finds the service for a request's Host.
func (t *Table) lookup(host string) *row { return t.rows[normalize(host)] }

// pick is where a request goes.
type pick struct {
	service  string          // Empty: to none that callers from outside may reach.
	revision string          // Empty: none takes traffic yet.
	rule     *wadi.RouteRule // That the request meets; nil: none.
	drawn    newBucket       // noBucket, unless the caller is to keep one.
}

// pick chooses the revision of the tag in the header, otherwise where the first rule leads
// that r meets, otherwise by the caller's bucket or by weight. As in the mesh, an unknown tag
// or several tags count as none, and of another service its split alone is asked.
func (r *row) pick(in *http.Request) pick {
	p := pick{service: r.service, drawn: noBucket}
	if asked := in.Header[wadi.HeaderTag]; len(asked) == 1 {
		if revision, ok := r.tags[asked[0]]; ok {
			p.revision = revision
			return p
		}
	}
	switch p.rule = r.rules.Find(in); {
	case p.rule == nil:
	case p.rule.Redirect != nil:
		return p
	case p.rule.Revision != "":
		p.revision = p.rule.Revision
		return p
	case p.rule.Service != "":
		other := r.others[p.rule.Service]
		if other == nil {
			p.service = ""
			return p
		}
		p.service, p.revision = p.rule.Service, other.byWeight()
		return p
	}
	if r.sticky != nil {
		p.revision, p.drawn = r.sticky.pick(in.Header)
		return p
	}
	p.revision = r.byWeight()
	return p
}

// byWeight chooses any revision by its share; empty if there is no target.
func (r *row) byWeight() string {
	if r.total == 0 {
		return ""
	}
	n := 0
	if len(r.targets) > 1 {
		n = rand.IntN(r.total)
	}
	return r.at(n)
}

// at is the revision of one of the total of the weights.
func (r *row) at(n int) string {
	for _, t := range r.targets {
		if n -= t.Weight; n < 0 {
			return t.Revision
		}
	}
	return ""
}

// normalize converts a Host to the form of the table's keys: in lower case, without port
// and without the root's dot.
func normalize(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// quotedHost is host in a form that an answer may repeat.
func quotedHost(host string) string {
	const longest = 253 // Of a DNS name.
	host = cmp.Or(host, "(none)")
	return fmt.Sprintf("%q", host[:min(len(host), longest)])
}
