package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// watched are the processes' figures that must not grow, by the metric that has them; the
// connections are counted in /proc.
var watched = []struct {
	name, metric string
	tol          tolerance
	unit         float64 // What the table divides by.
}{
	{"heap MiB", "go_gc_heap_live_bytes", tolerance{Least: 2 << 20, Share: 0.10}, 1 << 20},
	{"RSS MiB", "process_resident_memory_bytes", tolerance{Least: 8 << 20, Share: 0.15}, 1 << 20},
	{"goroutines", "go_goroutines", tolerance{Least: 20, Share: 0.05}, 1},
	{"descriptors", "process_open_fds", tolerance{Least: 16, Share: 0.05}, 1},
	{"connections", connections, tolerance{Least: 16, Share: 0.05}, 1},
}

const connections = "sockets"

// process is an agent or a queue-proxy.
type process struct {
	name    string // wadi-1, or queue-proxy of service and allocation.
	pid     int
	metrics string // host:port
}

// agents are the processes of agents.
func agents(all []*harness.Agent) (out []process) {
	for _, a := range all {
		out = append(out, process{name: a.Name, pid: a.PID(), metrics: a.Metrics})
	}
	return out
}

// queueProxies finds the queue-proxies of a cluster by their environment.
func queueProxies(clusterDir string) ([]process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var out []process
	for _, dir := range dirs {
		if exe, err := os.Readlink(dir + "/exe"); err != nil || filepath.Base(exe) != "queue-proxy" {
			continue // It has ended, or is another program.
		}
		text, err := os.ReadFile(dir + "/environ")
		if err != nil {
			continue // It has ended.
		}
		env := map[string]string{}
		for kv := range strings.SplitSeq(string(text), "\x00") {
			k, v, _ := strings.Cut(kv, "=")
			env[k] = v
		}
		if !strings.HasPrefix(env["NOMAD_ALLOC_DIR"], clusterDir+"/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		out = append(out, process{
			name: fmt.Sprintf("queue-proxy of %s %.8s", env["NOMAD_JOB_NAME"], env["NOMAD_ALLOC_ID"]),
			pid:  pid, metrics: env["NOMAD_HOST_ADDR_wadi_metrics"],
		})
	}
	return out, nil
}

// read reads a process's figures.
func (p process) read(ctx context.Context, c *http.Client) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := harness.Do(c, req)
	if err == nil && res.Status != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", res.Status, res.Body)
	}
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", p.name, err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(res.Body) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			all[name] = v
		}
	}
	if all[connections], err = sockets(p.pid); err != nil {
		return nil, fmt.Errorf("count connections of %s: %w", p.name, err)
	}
	return all, nil
}

// sockets counts the sockets of a process.
func sockets(pid int) (float64, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	n := 0.0
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++ // One that is closed meanwhile is none.
		}
	}
	return n, nil
}

// sampler keeps the figures of all processes.
type sampler struct {
	client *http.Client
	series map[string]map[string][]reading // By process and metric.
	missed int                             // Readings of processes that still ran.
	last   error                           // Why the last of them was missed.
}

func newSampler() *sampler {
	return &sampler{
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		series: map[string]map[string][]reading{},
	}
}

// sample reads all processes once.
func (s *sampler) sample(ctx context.Context, at time.Duration, all []process) {
	for _, p := range all {
		values, err := p.read(ctx, s.client)
		if err != nil {
			if _, gone := os.Stat(fmt.Sprintf("/proc/%d", p.pid)); ctx.Err() == nil && !errors.Is(gone, os.ErrNotExist) {
				s.missed, s.last = s.missed+1, err
			}
			continue
		}
		if s.series[p.name] == nil {
			s.series[p.name] = map[string][]reading{}
		}
		for _, w := range watched {
			if v, ok := values[w.metric]; ok && v > 0 { // Before the first collection there is no live heap.
				s.series[p.name][w.metric] = append(s.series[p.name][w.metric], reading{at, v})
			}
		}
	}
}

// latest is the last reading of a process; 0 if there is none.
func (s *sampler) latest(process, metric string) float64 {
	series := s.series[process][metric]
	if len(series) == 0 {
		return 0
	}
	return series[len(series)-1].Value
}
