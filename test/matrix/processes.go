//go:build e2e

package matrix

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// The programs of an instance.
const (
	programApp   = "ledger"
	programQueue = "queue-proxy"
	programEnvoy = "envoy"
)

// task is a process of an allocation of this world.
type task struct {
	pid        int
	job, alloc string
}

// tasks finds the running processes of a program in the world's allocations: what runs, and
// not what Nomad believes.
func (w *World) tasks(program string) ([]task, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var all []task
	for _, dir := range dirs {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil || filepath.Base(exe) != program {
			continue
		}
		env, err := os.ReadFile(dir + "/environ")
		if err != nil {
			continue // It has ended.
		}
		t := task{}
		ours := false
		for _, kv := range bytes.Split(env, []byte{0}) {
			name, value, _ := strings.Cut(string(kv), "=")
			switch name {
			case "NOMAD_ALLOC_DIR":
				ours = strings.HasPrefix(value, w.Dir+"/")
			case "NOMAD_ALLOC_ID":
				t.alloc = value
			case "NOMAD_JOB_ID":
				t.job = value
			}
		}
		if t.pid, err = strconv.Atoi(filepath.Base(dir)); err == nil && ours {
			all = append(all, t)
		}
	}
	return all, nil
}

// instances counts the running apps of the services that always have some.
func (w *World) instances() (int, error) {
	all, err := w.tasks(programApp)
	n := 0
	for _, t := range all {
		for name := range kept {
			if strings.HasPrefix(t.job, name+"-0") {
				n++
			}
		}
	}
	return n, err
}

// one finds a process of a program in an instance of a service, and notes in w.Hit that it
// is hit.
func (w *World) one(service, program string) (task, error) {
	all, err := w.tasks(program)
	if err != nil {
		return task{}, err
	}
	for _, t := range all {
		if strings.HasPrefix(t.job, service+"-0") {
			w.Hit.Service, w.Hit.Instance = service, t.alloc
			return t, nil
		}
	}
	return task{}, fmt.Errorf("no %s of %s runs", program, service)
}

// signal sends a signal to a process, and returns when all its threads are in a state, as
// /proc shows it: on a busy machine that takes a while. A process that has ended is fine, too.
func signal(ctx context.Context, pid int, sig syscall.Signal, state string) error {
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("send %v to %d: %w", sig, pid, err)
	}
	return harness.Eventually(ctx, time.Minute, func() error {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			return err
		}
		for _, file := range stats {
			b, err := os.ReadFile(file)
			if err != nil {
				continue // The thread has ended.
			}
			// The state follows the name, which is in parentheses.
			if rest := string(b[bytes.LastIndexByte(b, ')')+1:]); !strings.HasPrefix(strings.TrimSpace(rest), state) {
				return fmt.Errorf("a thread of %d is not yet in state %s", pid, state)
			}
		}
		return nil
	})
}

// jobs are the indexes at which the jobs of all services were created, by their IDs.
func (w *World) jobs(ctx context.Context) (map[string]uint64, error) {
	all := map[string]uint64{}
	for _, name := range w.services() {
		id := wadi.RevisionID(name, 1)
		j, _, err := w.Nomad.Jobs().Info(id, (&nomad.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read job %s: %w", id, err)
		}
		all[id] = *j.CreateIndex
	}
	return all, nil
}
