package devcluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/wadi-run/wadi/internal/toolchain"
)

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
