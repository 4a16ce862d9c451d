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

// findNetwork sets the interface that mapped ports are on, and whether bridge networks
// and the mesh work.
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

// HostIP is the address by which instances reach this machine; 127.0.0.1 without a
// default route.
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

// environment is inherited by the children, and through them by raw_exec tasks: the
// parent's environment without settings that would point them at another cluster.
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
	dirs = append(dirs, "/usr/sbin", "/sbin") // For iptables.
	return append(env,
		"PATH="+strings.Join(dirs, string(os.PathListSeparator)),
		"TMPDIR="+tmp, // For the sockets of Nomad's plugins.
		mark,
	), nil
}

// nomadClientHCL is the configuration of the node, which every start of Nomad but the
// first one has in addition to the server's.
func nomadClientHCL(c *Cluster, cfg Config, cniPath string) string {
	drivers, docker := "docker,java,qemu", ""
	if cfg.Docker {
		drivers, docker = "java,qemu", dockerHCL(cfg)
	}
	cni := ""
	if c.Bridge {
		cni = fmt.Sprintf("  cni_path              = %q\n  bridge_network_name   = %q\n  bridge_network_subnet = %q\n",
			cniPath, c.slot.Bridge(), c.slot.Subnet())
	}
	low, high := c.slot.DynamicPorts()
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
    # They wait for metadata services that do not exist here.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,vault"
    "driver.denylist"      = %q
  }
}
telemetry {
  publish_allocation_metrics = true # Otherwise Nomad measures no task, and no service can scale by cpu or memory.
}
limits {
  http_max_conns_per_client = 400 # Agent, tests and people have one address.
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

// dockerHCL configures the Docker driver. Other Nomads may use the same engine, so the
// driver removes no dangling containers.
func dockerHCL(cfg Config) string {
	options := ""
	if cfg.InfraImage != "" {
		options = fmt.Sprintf("infra_image = %q", cfg.InfraImage)
	}
	if cfg.DockerEndpoint != "" {
		options += fmt.Sprintf("\n    endpoint = %q", cfg.DockerEndpoint)
	}
	return fmt.Sprintf(`plugin "docker" {
  config {
    %s
    gc {
      image = false
      dangling_containers { enabled = false }
    }
  }
}
`, options)
}
