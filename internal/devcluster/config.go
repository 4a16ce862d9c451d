package devcluster

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/toolchain"
)

// ports of one cluster; they stay the same when its processes are restarted.
type ports struct {
	consul, consulClient consulPorts
	nomad, nomadClient   nomadPorts
}

// DefaultPorts returns Consul's and Nomad's usual ports where they are free,
// and 0 where they are not. They stay this process's.
func DefaultPorts() Ports {
	free := func(port int) int {
		if !freeport.Claim("127.0.0.1", port) {
			return 0
		}
		return port
	}
	return Ports{ConsulHTTP: free(8500), ConsulGRPC: free(8502), NomadHTTP: free(4646)}
}

// choosePorts fills in free ports. They are held until all are chosen, so that
// none is chosen twice.
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

// findNetwork decides which interface mapped ports are on, and whether bridge
// networks can reach it.
func (c *Cluster) findNetwork(tools toolchain.Paths) {
	c.Interface, c.HostIP = "lo", "127.0.0.1"
	name, ip, err := defaultInterface()
	switch {
	case err != nil:
		c.WhyNot = err.Error()
	case !tools.Bridge:
		c.Interface, c.HostIP = name, ip
		c.WhyNot = "bridge networks: " + tools.WhyNoBridge()
	default:
		c.Interface, c.HostIP, c.Bridge, c.Mesh = name, ip, true, tools.Mesh()
	}
	if c.Bridge && !c.Mesh {
		c.WhyNot = "there is no Envoy"
	}
}

// HostIP is the address that instances reach this machine by, as far as there is one.
func HostIP() string {
	_, ip, err := defaultInterface()
	if err != nil {
		return "127.0.0.1"
	}
	return ip
}

// defaultInterface returns the interface of the default route and its first
// IPv4 address.
func defaultInterface() (name, ip string, err error) {
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return "", "", fmt.Errorf("find default route: %w", err)
	}
	for line := range strings.Lines(string(routes)) {
		f := strings.Fields(line) // Interface, destination, gateway, …
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		iface, err := net.InterfaceByName(f[0])
		if err != nil {
			continue
		}
		addrs, err := iface.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				return f[0], n.IP.String(), nil
			}
		}
	}
	return "", "", errors.New("no interface has an IPv4 default route: ports are on loopback, where bridge networks can't reach them")
}

// environment is what the children, and through them raw_exec tasks, inherit:
// the parent's without what would point them at another cluster.
func environment(dir, mark string, path []string) ([]string, error) {
	tmp := filepath.Join(dir, "t")
	if err := os.MkdirAll(tmp, 0o777); err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	var env []string
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		if key == "PATH" || key == "TMPDIR" || strings.HasPrefix(key, "NOMAD_") ||
			strings.HasPrefix(key, "CONSUL_") || strings.HasPrefix(key, "WADI_") {
			continue
		}
		env = append(env, kv)
	}
	dirs := append(append([]string{}, path...), filepath.SplitList(os.Getenv("PATH"))...)
	dirs = append(dirs, "/usr/sbin", "/sbin") // Of iptables.
	return append(env,
		"PATH="+strings.Join(dirs, string(os.PathListSeparator)),
		"TMPDIR="+tmp, // Sockets of Nomad's plugins.
		mark,
	), nil
}

// nomadClientHCL is what the second and every later start adds.
func nomadClientHCL(c *Cluster, cfg Config, cniPath string) string {
	drivers := "docker,java,qemu"
	docker := ""
	if cfg.Docker {
		drivers = "java,qemu"
		image := ""
		if cfg.InfraImage != "" {
			image = fmt.Sprintf("infra_image = %q", cfg.InfraImage)
		}
		if cfg.DockerEndpoint != "" {
			image += fmt.Sprintf("\n    endpoint = %q", cfg.DockerEndpoint)
		}
		// Other Nomads may use the same engine: no reaping of strangers' containers.
		docker = fmt.Sprintf(`plugin "docker" {
  config {
    %s
    gc {
      image = false
      dangling_containers { enabled = false }
    }
  }
}
`, image)
	}
	cni := ""
	if c.Bridge {
		cni = fmt.Sprintf("  cni_path              = %q\n  bridge_network_name   = %q\n  bridge_network_subnet = %q\n",
			cniPath, c.slot.bridge(), c.slot.subnet())
	}
	low, high := c.slot.dynamicPorts()
	return fmt.Sprintf(`client {
  enabled                  = true
  network_interface        = %q
  preferred_address_family = "ipv4"
  cpu_disable_dmidecode    = true
  min_dynamic_port         = %d
  max_dynamic_port         = %d
  max_kill_timeout         = %q
  gc_max_allocs            = 500
%s  options = {
    # They ask metadata services that are not there, and wait.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,vault"
    "driver.denylist"      = %q
  }
}
telemetry {
  publish_allocation_metrics = true # Else it measures no task, and nothing could be scaled by cpu or memory.
}
limits {
  http_max_conns_per_client = 400 # Agent, tests and people are one address.
}
plugin "raw_exec" {
  config { enabled = true }
}
consul {
  address      = %q
  grpc_address = %q
}
%s`, c.Interface, low, high, cmp.Or(cfg.MaxKillTimeout, 30*time.Second).String(), cni, drivers, strings.TrimPrefix(c.ConsulAddr, "http://"), c.ConsulGRPC, docker)
}
