// Package intentions decides by Consul's intentions which service may call which in the
// mesh.
//
// It promises to answer as the Envoy in front of the destination would, or more strictly:
// it denies what it can't evaluate as Envoy would. It refuses to do I/O, and to verify
// JWTs: an intention that allows with a JWT only allows no caller here.
package intentions

import (
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// wildcard stands for every service, as a source or as a destination.
const wildcard = "*"

// Table is a compiled set of all intentions. It never changes. The nil Table allows
// nothing.
type Table struct {
	services     map[string]*destination // Without the wildcard.
	every        *destination            // The wildcard's; nil: there is none.
	defaultAllow bool
}

// destination is a compiled service-intentions entry.
type destination struct {
	sources map[string]*source // Without the wildcard.
	every   *source            // The wildcard's; nil: there is none.
}

// source is what an entry says about one source.
type source struct {
	allow       bool         // If there are no permissions.
	permissions []permission // In order; the first that matches decides.
	jwt         bool         // Requires a JWT, which can't be verified here.
}

// New compiles all service-intentions entries. defaultAllow is Consul's default intention
// policy. Entries and sources of other partitions, namespaces and peers are left out: they
// are about callers outside of this mesh.
func New(entries []*api.ServiceIntentionsConfigEntry, defaultAllow bool) *Table {
	t := &Table{services: make(map[string]*destination, len(entries)), defaultAllow: defaultAllow}
	for _, e := range entries {
		if e == nil || !isDefault(e.Partition) || !isDefault(e.Namespace) {
			continue
		}
		d := compile(e)
		if e.Name == wildcard {
			t.every = d
		} else {
			t.services[e.Name] = d
		}
	}
	return t
}

func isDefault(name string) bool { return name == "" || name == "default" }

func compile(e *api.ServiceIntentionsConfigEntry) *destination {
	d := &destination{sources: make(map[string]*source, len(e.Sources))}
	for _, in := range e.Sources {
		if in == nil || in.Peer != "" || !isDefault(in.Partition) {
			continue
		}
		s := &source{allow: in.Action == api.IntentionActionAllow, jwt: hasJWT(e.JWT)}
		if in.SamenessGroup != "" || in.Namespace == wildcard {
			// It may be about callers of this mesh or not, so only a refusal counts.
			if s.allow {
				continue
			}
			s.allow = false
		} else if !isDefault(in.Namespace) {
			continue
		} else {
			for _, p := range in.Permissions {
				s.permissions = append(s.permissions, compilePermission(p))
			}
		}
		d.put(in.Name, s)
	}
	return d
}

// put adds a source. Of two with the same name, which only Consul Enterprise has, the one
// that allows less stays.
func (d *destination) put(name string, s *source) {
	old := d.sources[name]
	if name == wildcard {
		old = d.every
	}
	if old != nil && (old.denies() || !s.denies()) {
		return
	}
	if name == wildcard {
		d.every = s
	} else {
		d.sources[name] = s
	}
}

func (s *source) denies() bool { return !s.allow && len(s.permissions) == 0 }

func hasJWT(r *api.IntentionJWTRequirement) bool { return r != nil && len(r.Providers) > 0 }

// Names reports whether an entry names exactly this destination.
func (t *Table) Names(service string) bool {
	return t != nil && t.services[service] != nil
}

// Evaluate reports whether caller may send r to destination, and if not, why.
func (t *Table) Evaluate(caller, destination string, r Request) (allowed bool, why string) {
	if t == nil {
		return false, "intentions are not known"
	}
	if caller == "" || caller == wildcard {
		return false, "the caller has no name"
	}
	first, second := t.about(caller, destination)
	if first == nil {
		if t.defaultAllow {
			return true, ""
		}
		return false, "no intention is about it, and the default is to deny"
	}
	if allowed, why = first.judge(&r, t.defaultAllow); allowed && second != nil {
		return second.judge(&r, t.defaultAllow)
	}
	return allowed, why
}

// about finds the sources that decide; both must allow. There is a second one if only the
// wildcard destination names the caller, and the destination has a wildcard source: by
// precedence the latter decides alone, but an Envoy whose default is to allow enforces
// both.
func (t *Table) about(caller, destination string) (first, second *source) {
	var named, every *source
	if t.every != nil {
		named, every = t.every.sources[caller], t.every.every
	}
	if d := t.services[destination]; d != nil {
		if s := d.sources[caller]; s != nil {
			return s, nil
		}
		if d.every != nil {
			if t.defaultAllow {
				return d.every, named
			}
			return d.every, nil
		}
	}
	if named != nil {
		return named, nil
	}
	return every, nil
}

func (s *source) judge(r *Request, defaultAllow bool) (allowed bool, why string) {
	if len(s.permissions) > 0 {
		allowed, why = s.judgeRequest(r, defaultAllow)
	} else if allowed = s.allow; !allowed {
		why = "an intention denies it"
	}
	if allowed && s.jwt {
		return false, "the intention wants a JWT, which can't be verified here"
	}
	return allowed, why
}

// Missing lists Wadi's own sources that a service's intentions must allow and do not, so
// that the service can't be served: wadi.ServiceActivator, whose requests to an instance
// must all pass, and for a public service wadi.ServiceGateway, of whose requests some must
// pass.
func (t *Table) Missing(service string, public bool) []string {
	var missing []string
	if !t.can(wadi.ServiceActivator, service, (*source).allowsAll) {
		missing = append(missing, wadi.ServiceActivator)
	}
	if public && !t.can(wadi.ServiceGateway, service, (*source).allowsSome) {
		missing = append(missing, wadi.ServiceGateway)
	}
	return missing
}

func (t *Table) can(caller, service string, ok func(s *source, defaultAllow bool) bool) bool {
	if t == nil {
		return false
	}
	first, second := t.about(caller, service)
	if first == nil {
		return t.defaultAllow
	}
	return ok(first, t.defaultAllow) && (second == nil || ok(second, t.defaultAllow))
}

// allowsAll reports whether every request passes.
func (s *source) allowsAll(defaultAllow bool) bool {
	if s.jwt || len(s.permissions) == 0 {
		return s.allow && !s.jwt
	}
	for i := range s.permissions {
		p := &s.permissions[i]
		if !p.allow || p.jwt {
			return false
		}
		if p.matchesAll() {
			return true
		}
	}
	return defaultAllow
}

// allowsSome reports whether some request may pass.
func (s *source) allowsSome(defaultAllow bool) bool {
	if s.jwt || len(s.permissions) == 0 {
		return s.allow && !s.jwt
	}
	for i := range s.permissions {
		p := &s.permissions[i]
		if p.allow && !p.jwt {
			return true
		}
		if p.matchesAll() {
			return false
		}
	}
	return defaultAllow
}

// String describes the size of t.
func (t *Table) String() string {
	if t == nil {
		return "no intentions"
	}
	n := len(t.services)
	if t.every != nil {
		n++
	}
	return fmt.Sprintf("intentions of %d destinations, default allow %t", n, t.defaultAllow)
}
