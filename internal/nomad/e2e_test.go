//go:build e2e

package nomad_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/toolchain"
)

// jobHCL is a revision's job whose app exits with the given code, or runs if it
// is negative; a mesh member if connect is true.
func jobHCL(id string, exit, memory int, connect bool) string {
	service, _, _ := wadi.SplitRevisionID(id)
	app := `args = ["-c", "exec sleep 1000"]`
	if exit >= 0 {
		app = fmt.Sprintf(`args = ["-c", "exit %d"]`, exit)
	}
	network, member := `network {
      port "wadi_traffic" {}
      port "wadi_metrics" {}
    }`, ""
	if connect {
		network = `network { mode = "bridge" }`
		member = fmt.Sprintf(`service {
      name = %q
      port = "8012"
      connect {
        sidecar_service {}
      }
    }`, service)
	}
	return fmt.Sprintf(`job %q {
  datacenters = ["*"]
  meta { wadi_service = %q }
  update { max_parallel = 0 }
  group "instance" {
    count = 0
    scaling {
      min = 0
      max = 10000
    }
    restart {
      attempts = 1
      delay    = "1s"
      interval = "1m"
      mode     = "fail"
    }
    %s
    %s
    task "web" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        %s
      }
      resources {
        cpu    = 20
        memory = %d
      }
    }
  }
}`, id, service, network, member, app, memory)
}

func TestE2E(t *testing.T) {
	tools, _ := toolchain.Locate(t.Context())
	cluster, err := devcluster.Start(t.Context(), devcluster.Config{Tools: tools})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	c, err := nomad.New(nomad.Config{Address: cluster.NomadAddr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &nomad.Watcher{Client: c}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-w.Synced()

	t.Run("rights and health", func(t *testing.T) {
		if err := errors.Join(c.Health(t.Context()), c.MaySubmit(t.Context(), "", "default"), c.MayRead(t.Context(), "", "default"), c.MayScale(t.Context(), "", "default")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("parse error", func(t *testing.T) {
		_, err := c.ParseJob(t.Context(), "", "default", "job \"x\" {\n  group \"g\" {\n    cpuu = 1\n  }\n}\n", "")
		var pe *nomad.ParseError
		if !errors.As(err, &pe) || !strings.Contains(pe.Text, "input.hcl:3,5-9: Unsupported argument") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("life", func(t *testing.T) { life(t, c, w) })
	t.Run("changes at once", func(t *testing.T) { atOnce(t, c, w) })
	t.Run("usage", func(t *testing.T) { usage(t, c, w) })
	t.Run("diagnosis", func(t *testing.T) { diagnoses(t, c, w) })
	t.Run("plan of a mesh job", func(t *testing.T) {
		job := parse(t, c, jobHCL("meshy-00001", -1, 16, true))
		if _, err := c.RegisterAt(t.Context(), "", job, 0); err != nil {
			t.Fatal(err)
		}
		p, err := c.PlanJob(t.Context(), "", job, true)
		if err != nil || p.Changed {
			t.Fatalf("a job that Nomad adds a sidecar to counts as changed: %+v %v", p.Diff, err)
		}
	})
	t.Run("nomad restarts", func(t *testing.T) { restart(t, cluster, c, w) })
}

func parse(t *testing.T, c *nomad.Client, hcl string) json.RawMessage {
	t.Helper()
	job, err := c.ParseJob(t.Context(), "", "default", hcl, "")
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// scale scales a job that has index and returns its new index.
func scale(t *testing.T, c *nomad.Client, id string, count int, index uint64) uint64 {
	t.Helper()
	index, eval, err := c.Scale(t.Context(), "default", id, count, index, "a test", map[string]any{"why": "test"})
	if err != nil || eval == "" {
		t.Fatalf("eval %q: %v", eval, err)
	}
	return index
}

func life(t *testing.T, c *nomad.Client, w *nomad.Watcher) {
	const id = "hello-00001"
	job := parse(t, c, jobHCL(id, -1, 16, false))
	if p, err := c.PlanJob(t.Context(), "", job, true); err != nil || !p.Changed || p.JobModifyIndex != 0 {
		t.Fatalf("plan of a new job: %+v %v", p, err)
	}
	index, err := c.RegisterAt(t.Context(), "", job, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.RegisterAt(t.Context(), "", job, 0); !errors.Is(err, wadi.ErrConflict) {
		t.Fatalf("a second registration: %v", err)
	}
	began := time.Now()
	up := scale(t, c, id, 1, index)
	if _, _, err := c.Scale(t.Context(), "default", id, 5, index, "", nil); !errors.Is(err, wadi.ErrConflict) {
		t.Fatalf("a scale call at a stale index: %v", err)
	}
	if err := c.Note(t.Context(), "default", id, "a note", nil); err != nil {
		t.Fatal(err)
	}
	if job, err := c.Job(t.Context(), "", "default", id); err != nil || job.JobModifyIndex != up || job.Count != 1 {
		t.Fatalf("job %+v (%v) after a note, want it as it was at %d", job, err, up)
	}
	if last, err := c.LastScaling(t.Context(), "default", id); err != nil || last.Count != 1 {
		t.Fatalf("last scaling %+v (%v), want the one before the note", last, err)
	}
	placed := until(t, w, id, func(es []wadi.Endpoint) bool { return len(es) == 1 })[0]
	t.Logf("placed %s after the scale call", time.Since(began).Round(time.Millisecond))
	if placed.Addr == "" || placed.Metrics == "" || placed.Stopping || placed.Created == 0 {
		t.Fatalf("endpoint is %+v", placed)
	}
	live, err := nomad.WithCount(job, 1)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := c.PlanJob(t.Context(), "", live, true); err != nil || p.Changed {
		t.Fatalf("an unchanged job: %+v %v", p.Diff, err)
	}
	again, err := c.RegisterAt(t.Context(), "", live, up)
	if err != nil {
		t.Fatalf("register an unchanged job: %v", err)
	}
	for index, want := range map[uint64]bool{up: true, again: false} {
		if changed, err := c.Edited(t.Context(), "", "default", id, index); err != nil || changed != want {
			t.Fatalf("edited at %d: %v (%v), want %v", index, changed, err, want)
		}
	}
	up = again
	edited := json.RawMessage(strings.Replace(string(live), "1000", "2000", 1))
	if p, err := c.PlanJob(t.Context(), "", edited, true); err != nil || !p.Changed {
		t.Fatalf("an edited job: %+v %v", p.Diff, err)
	}
	got, err := c.Job(t.Context(), "", "default", id)
	if err != nil || got.Count != 1 || got.JobModifyIndex != up || got.Meta[nomad.MetaService] != "hello" {
		t.Fatalf("job is %+v (%v), want index %d", got, err, up)
	}

	if err := c.Stop(t.Context(), "", "default", id); err != nil {
		t.Fatal(err)
	}
	gone := until(t, w, id, func(es []wadi.Endpoint) bool { return len(es) == 1 && es[0].Ended })[0]
	if gone.Problem != "" {
		t.Fatalf("an instance that was stopped has a problem: %s", gone.Problem)
	}
	stopped, err := c.Job(t.Context(), "", "default", id)
	if err != nil || !stopped.Stopped {
		t.Fatalf("job is %+v (%v)", stopped, err)
	}
	if _, err := c.Register(t.Context(), "", job, 1, stopped.JobModifyIndex); err != nil {
		t.Fatalf("put back: %v", err)
	}
	until(t, w, id, func(es []wadi.Endpoint) bool { return len(es) == 2 && !es[1].Stopping })
	if err := c.Evaluate(t.Context(), "default", id, true); err != nil {
		t.Fatal(err)
	}
	if err := c.Purge(t.Context(), "", "default", id); err != nil {
		t.Fatal(err)
	}
	if err := c.Purge(t.Context(), "", "default", id); err != nil {
		t.Fatalf("purge of a job that is gone: %v", err)
	}
	until(t, w, id, func(es []wadi.Endpoint) bool { return len(es) == 0 })
	if _, err := c.Job(t.Context(), "", "default", id); !errors.Is(err, wadi.ErrNotFound) {
		t.Fatalf("a purged job: %v", err)
	}
}

func diagnoses(t *testing.T, c *nomad.Client, w *nomad.Watcher) {
	for id, want := range map[string]string{
		"crash-00001": "task web: Exit Code: 3; not restarted: Exceeded allowed attempts 1",
		"large-00001": "no node fits: memory exhausted on 1 node",
	} {
		memory, exit := 16, 3
		if strings.HasPrefix(id, "large") {
			memory = 99999999
		}
		index, err := c.RegisterAt(t.Context(), "", parse(t, c, jobHCL(id, exit, memory, false)), 0)
		if err != nil {
			t.Fatal(err)
		}
		index = scale(t, c, id, 1, index)
		deadline := time.After(3 * time.Minute)
		for {
			_, changed := w.Endpoints("", id)
			got, since := diagnosed(w, "", id)
			if strings.HasPrefix(got, want) && !since.IsZero() {
				break
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("%s: diagnosis is %q, want %q", id, got, want)
			}
		}
		scale(t, c, id, 0, index)
		for {
			_, changed := w.Endpoints("", id)
			if got, _ := diagnosed(w, "", id); got == "" {
				break
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("%s: there is a diagnosis at count 0", id)
			}
		}
	}
}

func restart(t *testing.T, cluster *devcluster.Cluster, c *nomad.Client, w *nomad.Watcher) {
	const id = "stays-00001"
	index, err := c.RegisterAt(t.Context(), "", parse(t, c, jobHCL(id, -1, 16, false)), 0)
	if err != nil {
		t.Fatal(err)
	}
	scale(t, c, id, 1, index)
	before := until(t, w, id, func(es []wadi.Endpoint) bool { return len(es) == 1 })[0]
	if err := cluster.Nomad.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Health(t.Context()); !errors.Is(err, wadi.ErrUnavailable) {
		t.Fatalf("health of a dead nomad: %v", err)
	}
	if es, _ := w.Endpoints("", id); len(es) != 1 {
		t.Fatalf("the last known state is gone: %v", es)
	}
	if err := cluster.Nomad.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(3 * time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); !w.Connected(""); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the watcher did not come back")
		}
	}
	es, _ := w.Endpoints("", id)
	if len(es) != 1 || es[0].Instance != before.Instance {
		t.Fatalf("endpoints after the restart: %+v", es)
	}
	if job, _ := w.Job("", id); job.Count != 1 {
		t.Fatalf("job after the restart: %+v", job)
	}
}
