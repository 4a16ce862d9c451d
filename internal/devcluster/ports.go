package devcluster

import (
	"fmt"
	"net"
	"slices"

	"github.com/wadi-run/wadi/internal/freeport"
)

// ports of one cluster. They stay the same when its processes are restarted.
type ports struct {
	consul, consulClient consulPorts
	nomad, nomadClient   nomadPorts
}

// DefaultPorts returns Consul's and Nomad's usual ports where they are free, and 0 where
// they are not. This process keeps them until it ends.
func DefaultPorts() Ports {
	free := func(port int) int {
		if !freeport.Claim("127.0.0.1", port) {
			return 0
		}
		return port
	}
	return Ports{ConsulHTTP: free(8500), ConsulGRPC: free(8502), NomadHTTP: free(4646)}
}

// choosePorts fills in free ports. Their listeners stay open until all are chosen, so
// that no port is chosen twice.
func choosePorts(cfg Config) (ports, error) {
	var p ports
	consul, nomad := &p.consul, &p.nomad
	if cfg.ConsulClientAgent {
		consul = &p.consulClient
	}
	if cfg.NomadClientAgent {
		nomad = &p.nomadClient
	}
	consul.http, consul.grpc, nomad.http = cfg.Ports.ConsulHTTP, cfg.Ports.ConsulGRPC, cfg.Ports.NomadHTTP
	for _, port := range slices.Concat(p.consul.all(), p.consulClient.all(), p.nomad.all(), p.nomadClient.all()) {
		listen := freeport.Listen
		if *port != 0 {
			listen = func() (net.Listener, error) { return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port)) }
		}
		l, err := listen()
		if err != nil {
			return ports{}, fmt.Errorf("choose ports: %w", err)
		}
		defer l.Close() // At the end, on purpose.
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}
