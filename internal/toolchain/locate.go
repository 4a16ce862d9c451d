package toolchain

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Locate looks for every part on PATH, in the places where distributions put
// CNI plugins, and in the cache. It builds nothing.
func Locate(ctx context.Context) (Paths, []Missing) {
	var (
		paths   Paths
		missing []Missing
	)
	for _, n := range All() {
		p := pins()[n]
		path, why := p.find(ctx)
		if path == "" && n == Schemathesis {
			continue // Nothing but a test lacks it.
		}
		if path == "" {
			missing = append(missing, Missing{n, why, p.without, p.remedy})
			continue
		}
		paths.set(n, path)
	}
	return withBridge(paths, missing)
}

// withBridge adds whether bridge networks work with the found parts.
func withBridge(paths Paths, missing []Missing) (Paths, []Missing) {
	if why := paths.WhyNoBridge(); why != "" {
		return paths, append(missing, Missing{Bridge, why, "host networks, mesh off", ""})
	}
	paths.Bridge = true
	return paths, missing
}

// WhyNoBridge is what bridge networks lack here, and how to get it; empty if they work.
func (p Paths) WhyNoBridge() string {
	var why []string
	if runtime.GOOS != "linux" {
		return "this is " + runtime.GOOS + ", not Linux"
	}
	if os.Geteuid() != 0 {
		why = append(why, "not root (run it by sudo)")
	}
	if IPTables() == "" {
		why = append(why, "no iptables on PATH or in /usr/sbin, /sbin (install the package iptables)")
	}
	if p.CNI == "" {
		why = append(why, "no CNI plugins (\"make tools\" in a checkout of Wadi, or install the package containernetworking-plugins)")
	}
	if _, err := os.Stat("/sys/module/bridge"); err != nil && !kernelMayLoad("bridge") {
		why = append(why, "the kernel has no bridge module (install the package of its extra modules, such as linux-modules-extra or kernel-modules)")
	}
	return strings.Join(why, ", ")
}

// kernelMayLoad reports whether the running kernel has the module, built in or on disk.
func kernelMayLoad(module string) bool {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return false
	}
	dir := filepath.Join("/lib/modules", strings.TrimSpace(string(release)))
	for _, name := range []string{"modules.builtin", "modules.dep"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && strings.Contains(string(b), "/"+module+".ko") {
			return true
		}
	}
	return false
}

// IPTables returns the path of iptables, or "" where there is none. An
// unprivileged PATH often lacks the sbin directories.
func IPTables() string {
	if p, err := exec.LookPath("iptables"); err == nil {
		return p
	}
	for _, p := range []string{"/usr/sbin/iptables", "/sbin/iptables"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

// find returns the part's path, or why there is none.
func (p pin) find(ctx context.Context) (path, why string) {
	why = fmt.Sprintf("no %s >= %s on PATH", p.name, p.atLeast)
	if p.name == CNI {
		dirs := append(filepath.SplitList(os.Getenv("CNI_PATH")), "/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
		for _, dir := range dirs {
			if p.complete(dir) {
				return dir, ""
			}
		}
		why = "no CNI plugins in CNI_PATH, /opt/cni/bin, /usr/lib/cni, /usr/libexec/cni"
	} else if found, err := exec.LookPath(string(p.name)); err == nil {
		version, err := programVersion(ctx, found)
		switch {
		case err != nil:
			why = err.Error()
		case p.accepts(version):
			return found, ""
		default:
			why = fmt.Sprintf("%s is version %s, want %s", found, version, p.wants())
		}
	}
	cache, err := CacheDir()
	if err != nil {
		return "", why + ", " + err.Error()
	}
	if dir := p.dir(cache); p.complete(dir) {
		return p.path(dir), ""
	}
	return "", why + ", none in " + p.dir(cache)
}

func (p pin) wants() string {
	if p.below != "" {
		return p.atLeast + " or later, below " + p.below
	}
	return p.atLeast + " or later"
}

// complete reports whether dir has every file of the part.
func (p pin) complete(dir string) bool {
	if dir == "" {
		return false
	}
	for _, f := range p.files {
		st, err := os.Stat(filepath.Join(dir, f))
		if err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

func (p pin) accepts(version string) bool {
	return !older(version, p.atLeast) && (p.below == "" || older(version, p.below))
}

// versionRE finds the version in "Nomad v1.11.3", "Consul v1.22.7" and
// "envoy  version: 4f3…/1.36.4/Clean/RELEASE/BoringSSL".
var versionRE = regexp.MustCompile(`(?:^|[v/ ])(\d+\.\d+\.\d+)\b`)

func programVersion(ctx context.Context, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	m := versionRE.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("ask %s for its version: no version in its answer", program)
	}
	return string(m[1]), nil
}

// older reports whether version a comes before b; both are x.y.z.
func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, _ := strconv.Atoi(as[i])
		y, _ := strconv.Atoi(bs[i])
		if x != y {
			return x < y
		}
	}
	return len(as) < len(bs)
}
