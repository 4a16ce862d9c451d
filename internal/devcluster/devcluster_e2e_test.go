//go:build e2e

package devcluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/devcluster/process"
	"github.com/wadi-run/wadi/internal/toolchain"
)

func start(t *testing.T, cfg devcluster.Config) *devcluster.Cluster {
	t.Helper()
	tools, missing := toolchain.Locate(t.Context())
	for _, m := range missing {
		t.Log("missing", m)
	}
	cfg.Tools = tools
	cfg.Log = hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug})
	began := time.Now()
	c, err := devcluster.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("nomad's log:\n%s", c.Nomad.Tail(60))
		}
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// hello builds the example app and returns its directory.
func hello(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "hello"), "github.com/wadi-run/wadi/jobspecs/examples/hello")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build hello: %v: %s", err, out)
	}
	return dir
}

// job runs hello and returns the address of its mapped port.
func job(t *testing.T, c *devcluster.Cluster, name, mode string) string {
	t.Helper()
	n, err := c.NomadClient()
	if err != nil {
		t.Fatal(err)
	}
	to := ""
	if mode == "bridge" {
		to = "to = 8080"
	}
	spec, err := n.Jobs().ParseHCL(fmt.Sprintf(`job %q {
  group "g" {
    network {
      mode = %q
      port "http" { %s }
    }
    service {
      name = %q
      port = "http"
    }
    task "t" {
      driver = "raw_exec"
      config { command = "hello" }
      env {
        ADDR          = "0.0.0.0" # Nothing is in front of it.
        PORT          = "${NOMAD_PORT_http}"
        WADI_REVISION = %q
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}`, name, mode, to, name, name), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Jobs().Register(spec, nil); err != nil {
		t.Fatal(err)
	}
	var addr string
	eventually(t, "job "+name+" answers", func() error {
		allocs, _, err := n.Jobs().Allocations(name, false, nil)
		if err != nil || len(allocs) == 0 {
			return fmt.Errorf("%d allocations: %w", len(allocs), err)
		}
		alloc, _, err := n.Allocations().Info(allocs[0].ID, nil)
		if err != nil {
			return err
		}
		port := alloc.AllocatedResources.Shared.Ports[0]
		addr = net.JoinHostPort(port.HostIP, fmt.Sprint(port.Value))
		return get(addr, name)
	})
	return addr
}

func get(addr, want string) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !strings.HasPrefix(string(body), "hello from "+want) {
		err = fmt.Errorf("got %q", body)
	}
	return err
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	began := time.Now()
	deadline, tick := time.After(3*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			t.Logf("%s: after %s", what, time.Since(began).Round(time.Millisecond))
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within 30 s: %v", what, err)
		case <-tick.C:
		}
	}
}

// machine is everything that a cluster might leave on the machine.
func machine(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	add := func(kind string, what ...string) {
		for _, w := range what {
			found = append(found, kind+" "+w)
		}
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		cmdline, _ := os.ReadFile(p + "/cmdline")
		environ, _ := os.ReadFile(p + "/environ")
		cwd, _ := os.Readlink(p + "/cwd")
		if dir != "" && (strings.Contains(string(cmdline)+cwd+string(environ), dir) && string(cmdline) != "") {
			add("process", filepath.Base(p)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		add("mount", strings.Fields(line)[4])
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		add("interface", l.Name)
	}
	for _, pattern := range []string{
		"/tmp/wadi-dev*", "/run/netns", "/run/netns/*", "/run/cni", "/run/cni/*", "/run/cni/*/*",
		"/var/lib/cni", "/var/lib/cni/*", "/var/lib/cni/*/*", "/sys/fs/cgroup/*/nomad", "/sys/fs/cgroup/*/nomad/*",
		"/sys/fs/cgroup/nomad.slice",
	} {
		files, _ := filepath.Glob(pattern)
		add("file", files...)
	}
	for _, cmd := range []string{"iptables-save", "ip6tables-save"} {
		out, _ := exec.Command(cmd).Output() // No directory: nothing.
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "-") || strings.Contains(line, " - [") { // Rules, and chains that are not the kernel's.
				rule, _, _ := strings.Cut(line, " [")
				add(cmd, strings.TrimSpace(rule))
			}
		}
	}
	slices.Sort(found)
	return found
}

// wantSame compares the machine with its earlier state. If another Nomad runs, which makes
// and removes things of its own, only the things that are certainly the cluster's count.
func wantSame(t *testing.T, before []string, dir string) {
	t.Helper()
	got := machine(t, dir)
	if otherNomad() {
		t.Log("another Nomad runs here: looking less closely")
		n := filepath.Base(dir)
		ours := regexp.MustCompile(`^process |/tmp/wadi-dev/` + n + `(/|$)|\bwadi-dev` + n + `\b|\b10\.213\.` + n + `\.`)
		others := func(f string) bool { return !ours.MatchString(f) }
		before, got = slices.DeleteFunc(before, others), slices.DeleteFunc(got, others)
	}
	if diff := cmp.Diff(before, got); diff != "" {
		t.Errorf("left behind (+) or missing (-):\n%s", diff)
	}
}

func otherNomad() bool {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		comm, _ := os.ReadFile(name)
		cmdline, _ := os.ReadFile(filepath.Dir(name) + "/cmdline")
		if string(comm) == "nomad\n" && len(cmdline) > 0 {
			return true
		}
	}
	return false
}

func TestCluster_LeavesNothingBehind(t *testing.T) {
	before := machine(t, "")
	c := start(t, devcluster.Config{Path: []string{hello(t)}})
	dir := c.Dir
	job(t, c, "on-host", "host")
	if c.Bridge {
		job(t, c, "in-bridge", "bridge")
	} else {
		t.Log("no bridge networks:", c.WhyNot)
	}
	if during := machine(t, dir); cmp.Equal(before, during) {
		t.Fatal("this test sees nothing of what runs")
	}
	began := time.Now()
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped after %s", time.Since(began).Round(time.Millisecond))
	wantSame(t, before, dir)
}

// Nomad is killed here and can't clean up; Stop does.
func TestCluster_LeavesNothingBehindWhenNomadIsDead(t *testing.T) {
	before := machine(t, "")
	c := start(t, devcluster.Config{Path: []string{hello(t)}})
	dir := c.Dir
	mode := "host"
	if c.Bridge {
		mode = "bridge"
	}
	addr := job(t, c, "orphan", mode)
	if err := c.Nomad.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := get(addr, "orphan"); err != nil {
		t.Errorf("the task ended with Nomad: %v", err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, dir)
}

func TestCluster_Restarts(t *testing.T) {
	c := start(t, devcluster.Config{Path: []string{hello(t)}})
	addr := job(t, c, "stays", "host")
	for _, p := range []*process.Process{c.Nomad, c.Consul} {
		for _, end := range []struct {
			how string
			f   func() error
		}{{"killed", p.Kill}, {"stopped", func() error { return p.Stop(t.Context()) }}} {
			if err := end.f(); err != nil {
				t.Fatal(err)
			}
			if p.Running() {
				t.Fatalf("%s was %s and runs", p.Name, end.how)
			}
			if err := get(addr, "stays"); err != nil {
				t.Errorf("the task ended with %s: %v", p.Name, err)
			}
			began := time.Now()
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %s: ready again after %s", p.Name, end.how, time.Since(began).Round(time.Millisecond))
			if err := get(addr, "stays"); err != nil {
				t.Errorf("the task ended when %s came back: %v", p.Name, err)
			}
		}
	}
	if err := c.Consul.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := get(strings.TrimPrefix(c.ConsulAddr, "http://"), "x"); err == nil || !strings.Contains(err.Error(), "exceeded") {
		t.Errorf("paused Consul: got %v, want no answer in time", err)
	}
	if err := c.Consul.Resume(); err != nil {
		t.Fatal(err)
	}
	// The state is the same, and new jobs run.
	n, err := c.NomadClient()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Jobs().Info("stays", nil); err != nil {
		t.Error(err)
	}
	job(t, c, "new", "host")
}

func TestCluster_TwoAtOnce(t *testing.T) {
	path := []string{hello(t)}
	a, b := start(t, devcluster.Config{Path: path}), start(t, devcluster.Config{Path: path})
	mode := "host"
	if a.Bridge {
		mode = "bridge"
	}
	job(t, a, "first", mode)
	addr := job(t, b, "second", mode)
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := get(addr, "second"); err != nil {
		t.Errorf("stopping one cluster hurt the other: %v", err)
	}
	job(t, b, "third", mode)
}

func TestStart_SaysWhyAChildExited(t *testing.T) {
	tools, _ := toolchain.Locate(t.Context())
	_, err := devcluster.Start(t.Context(), devcluster.Config{Tools: tools, ExtraNomadHCL: "no_such_key = 1\n"})
	if err == nil || !strings.Contains(err.Error(), "no_such_key") {
		t.Errorf("got %v, want Nomad's own words", err)
	}
}

// A killed parent can do nothing: its children end by themselves, and so do their tasks;
// the next cluster removes the rest.
func TestCluster_ParentIsKilled(t *testing.T) {
	const key = "DEVCLUSTER_TEST_PARENT"
	if path := os.Getenv(key); path != "" { // This process is the parent.
		c := start(t, devcluster.Config{Path: []string{path}})
		mode := "host"
		if c.Bridge {
			mode = "bridge"
		}
		fmt.Printf("\nready %s %s\n", job(t, c, "orphan", mode), c.Dir)
		<-t.Context().Done() // Until the kill.
		return
	}
	before := machine(t, "")
	parent := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	parent.Env = append(os.Environ(), key+"="+hello(t))
	parent.Stderr = t.Output()
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	addr, dir := "", ""
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "ready %s %s", &addr, &dir); err != nil {
			t.Log("parent:", lines.Text())
		}
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // The test reports the kill.
	if addr == "" {
		t.Fatal("the parent did not get ready")
	}
	eventually(t, "every process ended", func() error {
		for _, f := range machine(t, dir+":") { // As in the mark.
			if strings.HasPrefix(f, "process ") {
				return errors.New(f)
			}
		}
		return nil
	})
	if err := get(addr, "orphan"); err == nil {
		t.Error("the task still answers")
	}
	c := start(t, devcluster.Config{})
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, c.Dir)
	wantSame(t, before, dir)
}
