//go:build e2e

// Package dev_test plays a newcomer with containers: "wadi agent -dev" beside a Docker engine
// of the test's own, images of `make dev-images`, and jobspecs/examples/hello-docker.hcl as it
// stands. No registry is asked for anything.
package dev_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// newcomer has a checkout and an engine.
type newcomer struct {
	t      *testing.T
	root   string
	engine *containers.Engine
}

func arrive(t *testing.T) *newcomer {
	t.Helper()
	root, err := harness.Root()
	harnesstest.Must(t, "find the checkout", err)
	e, err := containers.StartEngine(t.Context())
	if errors.Is(err, containers.ErrNoEngine) {
		t.Skip("SKIPPED, containers in development mode: ", err)
	}
	harnesstest.Must(t, "start an engine", err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("engine's log:\n%s", e.Log(20))
		}
		harnesstest.Must(t, "stop the engine", e.Stop(context.WithoutCancel(t.Context())))
	})
	return &newcomer{t: t, root: root, engine: e}
}

// docker runs a command of Docker, and returns the lines of its answer, sorted.
func (n *newcomer) docker(args ...string) []string {
	n.t.Helper()
	out, err := n.engine.Docker(n.t.Context(), args...)
	harnesstest.Must(n.t, "ask the engine", err)
	lines := strings.Fields(out)
	slices.Sort(lines)
	return lines
}

func (n *newcomer) wantContainers(want ...string) {
	n.t.Helper()
	if got := n.docker("ps", "--all", "--format", "{{.Names}}"); !slices.Equal(got, want) {
		n.t.Errorf("containers are %q, want %q", got, want)
	}
}

// agent is "wadi agent -dev".
type agent struct {
	*newcomer
	cmd          *exec.Cmd
	api, gateway string
	output       string // File.
	done         chan struct{}
}

// startAgent starts it on ports of its own, and waits until it says what to type.
func (n *newcomer) startAgent() *agent {
	n.t.Helper()
	ports, err := freeport.Ports(6)
	harnesstest.Must(n.t, "choose ports", err)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	a := &agent{newcomer: n, api: "http://" + at(0), gateway: "http://" + at(1), output: filepath.Join(n.t.TempDir(), "output"), done: make(chan struct{})}
	out, err := os.Create(a.output)
	harnesstest.Must(n.t, "make the output", err)
	defer out.Close()
	a.cmd = exec.Command(filepath.Join(n.root, "bin", "wadi"), "agent", "-dev", "-http-address", at(0), "-gateway-address", at(1), "-metrics-address", at(2), "-activator-address", at(3))
	a.cmd.Stdout, a.cmd.Stderr = out, out
	// Nothing listens there, so it starts its own cluster.
	a.cmd.Env = append(os.Environ(), "TMPDIR="+n.t.TempDir(), "DOCKER_HOST="+n.engine.Endpoint(), "NOMAD_ADDR=http://"+at(4), "CONSUL_HTTP_ADDR="+at(5))
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	harnesstest.Must(n.t, "start", a.cmd.Start())
	go func() {
		_ = a.cmd.Wait() // The test reads the exit code.
		close(a.done)
	}()
	n.t.Cleanup(func() {
		_ = a.cmd.Process.Signal(syscall.SIGINT) // Fails only if it has ended.
		<-a.done
	})
	harnesstest.Eventually(n.t, harnesstest.WaitLong, func() error {
		select {
		case <-a.done:
			return harness.Final(fmt.Errorf("it ended:\n%s", a.text()))
		default:
		}
		if !strings.Contains(a.text(), "Call it:") {
			return fmt.Errorf("it does not say what to call yet:\n%s", a.text())
		}
		return nil
	})
	return a
}

func (a *agent) text() string {
	b, err := os.ReadFile(a.output)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// run runs a program in the checkout, as a person in a second terminal does.
func (a *agent) run(name string, args ...string) string {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = a.root, &out, &out
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+a.engine.Endpoint(), "WADI_ADDR="+a.api)
	if err := cmd.Run(); err != nil {
		a.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

func (a *agent) get() harness.Response {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), harnesstest.WaitLong)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.gateway, nil)
	harnesstest.Must(a.t, "make a request", err)
	req.Host = "hello-docker." + harness.Domain
	res, err := harness.Do(http.DefaultClient, req)
	if err != nil || res.Status != http.StatusOK || !strings.HasPrefix(res.Body, "hello from hello-docker-00001") {
		a.t.Fatalf("got status %d, %q, error %v\n%s", res.Status, res.Body, err, a.text())
	}
	return res
}

// wantGone fails if containers, images, mounts or networks of the cluster are left.
func (a *agent) wantGone() {
	a.t.Helper()
	a.wantContainers("mine")
	if got := a.docker("images", "--format", "{{.Repository}}:{{.Tag}}"); slices.ContainsFunc(got, func(i string) bool { return strings.Contains(i, "pause") }) {
		a.t.Errorf("images are %q, want no pause image", got)
	}
	harnesstest.Eventually(a.t, harnesstest.WaitLong, func() error { // The engine unmounts them after it has told that a container is gone.
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		mine := strings.Count(string(mounts), a.engine.Dir+"/exec/netns/")
		if got := a.docker("ps", "--quiet"); err == nil && mine != len(got) { // The engine keeps one for each container.
			err = fmt.Errorf("%d network namespaces are mounted, for %d containers", mine, len(got))
		}
		return err
	})
}

// A file of the examples runs as it stands, goes to zero, wakes warm, and Ctrl-C leaves
// nothing but what was there before.
func TestDev_HelloDocker(t *testing.T) {
	t.Parallel()
	n := arrive(t)
	a := n.startAgent()
	if want := "Services with the driver docker run in Docker "; !strings.Contains(a.text(), want) || !strings.Contains(a.text(), n.engine.Endpoint()) {
		t.Errorf("it says\n%s\nwithout %q and the endpoint", a.text(), want)
	}
	a.run("make", "dev-images")
	images := a.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
	n.docker("run", "--detach", "--name", "mine", "--network", "none", "localhost/wadi/hello:0.1") // A container of the developer's own.
	if out := a.run("bin/wadi", "apply", "jobspecs/examples/hello-docker.hcl"); !strings.Contains(out, "hello-docker: ready") || strings.Contains(out, "docker.io") {
		t.Errorf("apply says\n%s", out)
	}
	a.get()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if got := n.docker("ps", "--all", "--format", "{{.Names}}"); !slices.Equal(got, []string{"mine"}) {
			return fmt.Errorf("at zero there are containers yet: %q", got)
		}
		return nil
	})
	if got := n.docker("images", "--format", "{{.Repository}}:{{.Tag}}"); !slices.Equal(got, images) {
		t.Errorf("images are %q, were %q: a service at zero can't start again", got, images)
	}
	t.Logf("woken: %s", a.get().Header.Get("Server-Timing"))
	harnesstest.Must(t, "press Ctrl-C", a.cmd.Process.Signal(syscall.SIGINT))
	<-a.done
	if code, text := a.cmd.ProcessState.ExitCode(), a.text(); code != 0 || !strings.Contains(text, "nothing is left behind") || strings.Contains(text, "did not end in time") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	a.wantGone()
}

// An agent that is killed can't stop its containers. The next one removes them, and no other.
func TestDev_KilledWithContainers(t *testing.T) {
	t.Parallel()
	n := arrive(t)
	image, err := containers.Built("hello")
	harnesstest.Must(t, "make an image", err)
	harnesstest.Must(t, "load it", n.engine.Load(t.Context(), "localhost/wadi/hello:0.1", image))
	n.docker("run", "--detach", "--name", "mine", "--network", "none", "localhost/wadi/hello:0.1")
	a := n.startAgent()
	a.run("bin/wadi", "apply", "jobspecs/examples/hello-docker.hcl")
	a.get()
	harnesstest.Must(t, "kill it", a.cmd.Process.Kill())
	<-a.done
	if got := n.docker("ps", "--quiet"); len(got) < 2 {
		t.Fatalf("%d containers outlived it, want some to remove", len(got))
	}
	next := n.startAgent()
	next.wantContainers("mine")
	harnesstest.Must(t, "press Ctrl-C", next.cmd.Process.Signal(syscall.SIGINT))
	<-next.done
	next.wantGone()
}
