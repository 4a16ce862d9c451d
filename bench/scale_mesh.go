package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/test/harness"
)

// configEntries measures what the config entries of many services in the mesh cost: to write by
// the agent's own layer, in Consul, and to list as an agent does.
func (s *scaleStage) configEntries(ctx context.Context, services int) (out section, err error) {
	out = section{
		Title:   "config entries of services in the mesh, in a real Consul, by the agent's own code",
		Columns: []string{"to write, ms each", "to find unchanged, ms in all", "to list anew ms", "again ms", "KiB each", "entries each", "Consul MiB", "Consul CPU ms each"},
	}
	client, err := consul.New(consul.Config{Address: s.stack.Cluster.ConsulAddr})
	if err != nil {
		return out, err
	}
	consulPID := s.stack.Cluster.Consul.PID()
	written := 0
	layer := &mesh.Layer{Entries: client}
	for n := 10; n < services*10; n *= 10 {
		n := min(n, services)
		used, err := harness.CPUTime(consulPID)
		if err != nil {
			return out, err
		}
		began := time.Now()
		from := written
		for ; written < n; written++ {
			if err := layer.Apply(ctx, meshRoute(written)); err != nil {
				return out, err
			}
		}
		write := time.Since(began)
		usedNow, err := harness.CPUTime(consulPID)
		if err != nil {
			return out, err
		}
		fresh, err := consul.New(consul.Config{Address: s.stack.Cluster.ConsulAddr}) // It has decoded nothing yet.
		if err != nil {
			return out, err
		}
		first, entries, err := listEntries(ctx, fresh)
		if err != nil {
			return out, err
		}
		again, _, err := listEntries(ctx, fresh)
		if err != nil {
			return out, err
		}
		began = time.Now()
		for i := range n {
			if ok, why, err := layer.Programmed(ctx, meshRoute(i)); err != nil || !ok {
				return out, fmt.Errorf("service %d is not as written (%s): %w", i, why, err)
			}
		}
		same := time.Since(began)
		size, err := s.entriesSize(ctx)
		if err != nil {
			return out, err
		}
		memory, err := rss(consulPID)
		if err != nil {
			return out, err
		}
		each := float64(n - from)
		out.add(fmt.Sprintf("%d services", n), ms(write)/each, ms(same), first, again, size/1024/float64(n), float64(entries)/float64(n), memory/(1<<20), ms(usedNow-used)/each)
	}
	out.note("an Envoy gets the entries of the services that it calls, and no others: see docs/scale.md")
	return out, nil
}

// meshRoute is the route of the i-th service in the mesh.
func meshRoute(i int) wadi.Route {
	name := fmt.Sprintf("m%05d", i)
	id := wadi.RevisionID(name, 1)
	return wadi.Route{
		Service: name, Namespace: "default", Targets: []wadi.RouteTarget{{Revision: id, Weight: wadi.WeightAll}},
		Revisions: map[string]wadi.RouteRevision{id: {Activation: 1, Mesh: wadi.MeshEnvoy, Timeout: wadi.Timeouts{Request: wadi.Duration(time.Minute)}}},
	}
}

// meshKinds are the kinds of entries that a service has.
var meshKinds = []string{consulapi.ServiceIntentions, consulapi.ServiceDefaults, consulapi.ServiceResolver, consulapi.ServiceSplitter, consulapi.ServiceRouter}

func listEntries(ctx context.Context, client *consul.Client) (took float64, n int, err error) {
	began := time.Now()
	for _, kind := range meshKinds {
		all, err := client.Entries(ctx, kind)
		if err != nil {
			return 0, 0, err
		}
		n += len(all)
	}
	return ms(time.Since(began)), n, nil
}

// entriesSize is the bytes of all lists, as Consul sends them.
func (s *scaleStage) entriesSize(ctx context.Context) (sum float64, err error) {
	for _, kind := range meshKinds {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.stack.Cluster.ConsulAddr+"/v1/config/"+kind, nil)
		if err != nil {
			return 0, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // It was read.
		if err != nil || !json.Valid(body) {
			return 0, fmt.Errorf("list %s: %w", kind, err)
		}
		sum += float64(len(body))
	}
	return sum, nil
}
