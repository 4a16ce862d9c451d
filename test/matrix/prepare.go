//go:build e2e

package matrix

import (
	"context"
	"fmt"
	"strings"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/faultproxy"
)

// proxies are before the Consul and the Nomad of an agent.
type proxies struct{ consul, nomad *faultproxy.Proxy }

// withProxies has proxies before the Consul and the Nomad of all agents, to the end of the
// world. Agents are restarted for it, one after the other.
func withProxies(ctx context.Context, w *World) error {
	if w.proxies != nil {
		return nil
	}
	w.proxies = map[string]proxies{}
	for _, a := range w.Agents {
		var p proxies
		for _, b := range []struct {
			front  **faultproxy.Proxy
			target string
		}{{&p.consul, w.consulAddr}, {&p.nomad, w.nomadAddr}} {
			front, err := faultproxy.Start(strings.TrimPrefix(b.target, "http://"))
			if err != nil {
				return err
			}
			*b.front = front
			w.stop = append(w.stop, func(context.Context) error { return front.Close() })
		}
		w.proxies[a.Name] = p
		if err := a.Amend(fmt.Sprintf("consul {\n  address = \"http://%s\"\n}\nnomad {\n  address = \"http://%s\"\n}\n", p.consul.Addr, p.nomad.Addr)); err != nil {
			return err
		}
		if err := w.restart(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// restart stops an agent in order, starts it again and waits until it is healthy.
func (w *World) restart(ctx context.Context, a *harness.Agent) error {
	if err := a.Stop(ctx); err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	return a.WaitLeader(ctx)
}
