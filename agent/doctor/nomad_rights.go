package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/policies"
)

const maxProbed = 32 // Services, and namespaces, whose rights one report asks for.

// checkNomadRights asks Nomad for each right in each namespace that services are in. Before
// there is a service it asks in those where the token has any right.
func (d *Doctor) checkNomadRights(ctx context.Context) []wadi.Finding {
	namespaces, _ := d.Namespaces()
	if len(namespaces) == 0 {
		var err error
		if namespaces, err = d.Nomad.Namespaces(ctx); err != nil {
			return nil // checkNomad reports it.
		}
		if len(namespaces) == 0 {
			return []wadi.Finding{{Level: wadi.LevelFail, About: aboutNomad,
				What:   "the agent's token has no right in any namespace: no service can be kept up or scaled",
				Remedy: "give it " + policies.Namespace(policies.Everywhere).String() + ", or one of these for each namespace with services"}}
		}
	}
	slices.Sort(namespaces)
	namespaces = namespaces[:min(len(namespaces), maxProbed)]
	out := d.nodeRight(ctx)
	for _, f := range d.namespaceRights(ctx, namespaces) {
		if f != nil {
			out = append(out, *f)
		}
	}
	return out
}

// nodeRight is a finding if the token may not read Nomad's nodes.
func (d *Doctor) nodeRight(ctx context.Context) []wadi.Finding {
	if err := d.Nomad.MayReadNodes(ctx, d.Nomad.Token()); !errors.Is(err, wadi.ErrForbidden) {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutNomad,
		What:   "the agent's token lacks node:read: which nodes are drained is not known ahead, nor which versions Nomad's servers have",
		Remedy: "give it " + policies.Nodes().String()}}
}

// namespaceRights has a finding, or nil, for each right in each namespace.
func (d *Doctor) namespaceRights(ctx context.Context, namespaces []string) []*wadi.Finding {
	probes := []struct {
		capability, without string
		ask                 func(ctx context.Context, token, namespace string) error
	}{
		{"submit-job", "nothing is put back, scaled or removed", d.Nomad.MaySubmit},
		{"read-job", "instances are not seen", d.Nomad.MayRead},
		{"list-jobs", "jobs are not seen", d.Nomad.MayList},
	}
	found := make([]*wadi.Finding, len(namespaces)*len(probes))
	var wg sync.WaitGroup
	for i, ns := range namespaces {
		for j, p := range probes {
			wg.Go(func() {
				err := p.ask(ctx, d.Nomad.Token(), ns)
				if errors.Is(err, wadi.ErrForbidden) {
					found[i*len(probes)+j] = &wadi.Finding{Level: wadi.LevelFail, About: aboutNomad,
						What:   fmt.Sprintf("the agent's token lacks %s in the namespace %q: %s", p.capability, ns, p.without),
						Remedy: "give it " + policies.Namespace(ns).String()}
				}
			})
		}
	}
	wg.Wait()
	return found
}
