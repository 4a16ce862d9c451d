//go:build e2e

// Package assets_test runs instances on nodes that have no program of Wadi: Nomad's clients
// fetch the queue-proxy from the agents.
package assets_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/test/harness"
)

var binFlag = flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")

const long = 2 * time.Minute

// release is a folder with Wadi's programs, as an archive has them.
type release struct{ dir string }

// newRelease makes the folder of a release.
func newRelease(t *testing.T) release {
	t.Helper()
	from := *binFlag
	if from == "" {
		root, err := harness.Root()
		if err != nil {
			t.Fatal(err)
		}
		from = filepath.Join(root, "bin")
	}
	r := release{t.TempDir()}
	for _, name := range []string{"wadi", "queue-proxy", "hello"} {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(r.dir, name), content, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// upgrade replaces the queue-proxy by another build of it, and returns its checksum.
func (r release) upgrade(t *testing.T, build string) string {
	t.Helper()
	file := filepath.Join(r.dir, "queue-proxy")
	content, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file+".new", append(content, build...), 0o755) // What is behind a program changes nothing but its checksum.
	}
	if err := errors.Join(err, os.Rename(file+".new", file)); err != nil {
		t.Fatal(err)
	}
	return r.sum(t)
}

func (r release) sum(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(r.dir, "queue-proxy"))
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(content)
	return hex.EncodeToString(h[:])
}

// config is the configuration of an agent that serves its programs at a port.
func config(dir, driver string, port int) string {
	return fmt.Sprintf(`metrics {
  address = "127.0.0.1:%d"
}
assets {
  dir = %q
  url = "http://127.0.0.1:%d"
}
queue_proxy {
  driver = %q
  resources {
    cpu    = 20
    memory = 64
  }
}
defaults {
  mesh    = "off"
  network = "host"
}
`, port, dir, port, driver)
}

func service(name string) string {
	return fmt.Sprintf(`service %q {
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      resources {
        cpu    = 20
        memory = 64
      }
    }
  }
  scale {
    window = "6s"
  }
  timeout {
    progress = "2m"
  }
}
`, name)
}

// world is one Nomad with agents.
type world struct {
	*harness.Stack
	t       *testing.T
	release release
	dir     string // The first agent's folder of programs.
	extra   func(driver string) string
}

func start(t *testing.T) *world {
	t.Helper()
	ports, err := freeport.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, release: newRelease(t), dir: filepath.Join(t.TempDir(), "assets")}
	w.extra = func(driver string) string { return config(w.dir, driver, ports[0]) }
	w.Stack, err = harness.Start(t.Context(), harness.Options{
		Bin: w.release.dir, Extra: w.extra("raw_exec"),
		// What exec copies to each task's root by default, the system's programs, takes a busy machine minutes.
		NomadClientHCL: "chroot_env {\n  \"/etc/hosts\" = \"/etc/hosts\"\n}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), long)
		defer cancel()
		if t.Failed() {
			t.Logf("agent's log:\n%s", w.Agent.Tail(40))
		}
		if err := w.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return w
}

func (w *world) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func (w *world) eventually(within time.Duration, try func() error) {
	w.t.Helper()
	w.must("wait", harness.Eventually(w.t.Context(), within, try))
}

// restart ends the agent, and starts it with a driver of the queue-proxy.
func (w *world) restart(driver string) {
	w.t.Helper()
	ctx := w.t.Context()
	w.must("stop the agent", w.Agent.Stop(ctx))
	extra := strings.TrimSuffix(w.Agent.Config, ".hcl") + "-extra.hcl"
	w.must("configure the agent", os.WriteFile(extra, []byte(w.extra(driver)), 0o600))
	w.must("start the agent", w.Agent.Start(ctx))
	w.must("wait for a leader", w.Agent.WaitLeader(ctx))
}

// programs are the checksums that the job of a revision names.
func (w *world) programs(revision string) (sums []string) {
	w.t.Helper()
	job, _, err := w.Nomad.Jobs().Info(revision, nil)
	w.must("read the job", err)
	for _, task := range job.TaskGroups[0].Tasks {
		for _, a := range task.Artifacts {
			sums = append(sums, strings.TrimPrefix(a.GetterOptions["checksum"], "sha256:"))
		}
	}
	return sums
}

// wake waits until a service has gone to zero and its instance is away, and calls it: the
// instance that answers has a new folder with nothing in it.
func (w *world) wake(name string) harness.Response {
	w.t.Helper()
	ctx := w.t.Context()
	revision := name + "-00001"
	w.must("wait for zero", w.WaitCount(ctx, revision, long, func(n int) bool { return n == 0 }))
	w.must("wait for zero", w.WaitGone(ctx, revision, long))
	res, err := w.Agent.Get(ctx, name, "/")
	w.must("call", err)
	return res
}

// A node that has nothing gets the program, by raw_exec and exec. After an upgrade old
// revisions still get the old program, with the same job, and new revisions the new one; an
// agent that never had the old one gets it from another. A program that is nowhere is told,
// and what is told helps.
func TestAssets(t *testing.T) {
	w := start(t)
	ctx := t.Context()
	old := w.release.sum(t)

	w.must("apply", w.Agent.Apply(ctx, service("first")))
	if sums := w.programs("first-00001"); !slices.Equal(sums, []string{old}) {
		t.Fatalf("the job fetches %q, want %s", sums, old)
	}

	next := w.release.upgrade(t, "the next release")
	w.restart("exec")
	w.must("apply", w.Agent.Apply(ctx, service("second")))
	if sums := w.programs("second-00001"); !slices.Equal(sums, []string{next}) {
		t.Errorf("after the upgrade the job fetches %q, want %s", sums, next)
	}
	if res, err := w.Agent.Get(ctx, "second", "/"); err != nil || res.Status != 200 {
		t.Errorf("by exec: %+v, %v", res, err)
	}
	if sums := w.programs("first-00001"); !slices.Equal(sums, []string{old}) {
		t.Errorf("the old revision fetches %q", sums)
	}
	if res := w.wake("first"); res.Status != 200 || !strings.HasPrefix(res.Body, "hello from first-00001") {
		t.Errorf("the old revision: %d %q", res.Status, res.Body)
	}
	w.another(old)
	w.missing(old)
}

// another starts a second agent, which has the new release alone.
func (w *world) another(old string) {
	t, ctx := w.t, w.t.Context()
	ports, err := freeport.Ports(1)
	w.must("find a port", err)
	dir := filepath.Join(t.TempDir(), "assets")
	second, err := w.NewAgent("wadi-2", config(dir, "raw_exec", ports[0]))
	w.must("make an agent", err)
	w.must("start an agent", second.Start(ctx))
	w.eventually(long, func() error {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/v1/assets/queue-proxy/%s", ports[0], old))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != 200 {
			return fmt.Errorf("the second agent answers %s", res.Status)
		}
		return nil
	})
	w.must("end the agent", second.Kill())
}

// missing takes a program away from all agents, and puts it back as the doctor says.
func (w *world) missing(old string) {
	t, ctx := w.t, w.t.Context()
	file := filepath.Join(w.dir, old)
	content, err := os.ReadFile(file)
	w.must("read the program", errors.Join(err, os.Remove(file)))
	if res := w.wake("first"); res.Status != 503 {
		t.Errorf("without its program: %d %q", res.Status, res.Body)
	}
	status, err := w.Agent.Wadi(ctx, "", "service", "status", "first")
	if err != nil || !strings.Contains(status.Stdout, "artifact") {
		t.Errorf("status does not tell why (%v):\n%s", err, status.Stdout)
	}
	w.eventually(long, func() error {
		told, err := w.Agent.Wadi(ctx, "", "doctor")
		if err != nil || !strings.Contains(told.Stdout, old) || !strings.Contains(told.Stdout, "assets.dir of an agent") {
			return fmt.Errorf("doctor does not tell (%v):\n%s", err, told.Stdout)
		}
		return nil
	})
	w.must("put it back", os.WriteFile(file, content, 0o644))
	w.eventually(long, func() error {
		res, err := w.Agent.Get(ctx, "first", "/")
		if err != nil || res.Status != 200 {
			return fmt.Errorf("with its program again: %d %q %w", res.Status, res.Body, err)
		}
		return nil
	})
}
