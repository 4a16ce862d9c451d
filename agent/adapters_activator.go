package agent

import (
	"context"
	"net"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/authz"
	"github.com/wadi-run/wadi/internal/mesh"
	"github.com/wadi-run/wadi/proxy/activator"
)

// routedCluster is Nomad's event stream as the activator sees it, which knows revisions by
// their routes.
type routedCluster struct {
	cluster     controlCluster
	namespaceOf func(revision string) (string, bool)
}

var (
	_ activator.Guard     = (*authz.Guard)(nil)
	_ activator.Endpoints = routedCluster{}
	_ activator.Diagnoses = routedCluster{}
)

func (c routedCluster) Endpoints(revision string) ([]wadi.Endpoint, <-chan struct{}) {
	changed := c.cluster.Changed()
	if namespace, ok := c.namespaceOf(revision); ok {
		return c.cluster.Endpoints(namespace, revision)
	}
	return nil, changed
}

func (c routedCluster) Diagnosis(revision string) wadi.Diagnosis {
	if namespace, ok := c.namespaceOf(revision); ok {
		return c.cluster.Diagnosis(namespace, revision)
	}
	return wadi.Diagnosis{}
}

// instanceDialer dials instances: by mTLS where Envoy is in front of them, else plainly.
type instanceDialer struct {
	mesh  *mesh.Source
	route func(service string) (wadi.Route, bool)
	tcp   net.Dialer
}

var _ activator.Dialer = (*instanceDialer)(nil)

func (d *instanceDialer) Dial(ctx context.Context, ep wadi.Endpoint) (net.Conn, error) {
	r, _ := d.route(ep.Service)
	switch {
	case r.Revisions[ep.Revision].Mesh != wadi.MeshEnvoy:
		return d.tcp.DialContext(ctx, "tcp", ep.Addr)
	case r.Protocol.HTTP2():
		return d.mesh.Dial(ctx, ep.Addr, ep.Service, "h2")
	}
	return d.mesh.Dial(ctx, ep.Addr, ep.Service)
}
