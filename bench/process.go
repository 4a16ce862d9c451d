package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wadi-run/wadi/test/harness"
)

// rss is the resident memory of a process in bytes.
func rss(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0, fmt.Errorf("read memory of %d: short line", pid)
	}
	pages, err := strconv.Atoi(f[1])
	return float64(pages * os.Getpagesize()), err
}

// findProcess returns the process of a program that runs in an allocation.
func findProcess(program, alloc string) (int, error) {
	return findWhere(fmt.Sprintf("%s of allocation %s", program, alloc), func(exe, env string) bool {
		return filepath.Base(exe) == program && strings.Contains(env, "\x00NOMAD_ALLOC_ID="+alloc+"\x00")
	})
}

// findWhere returns the first process whose executable and environment match. In env, each
// variable stands between NULs.
func findWhere(what string, is func(exe, env string) bool) (int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil {
			continue
		}
		env, err := os.ReadFile(dir + "/environ")
		if err == nil && is(exe, "\x00"+string(env)) {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("find %s: no such process", what)
}

// gauges reads the agent's metrics that have no labels.
func gauges(ctx context.Context, a *harness.Agent) (map[string]float64, error) {
	res, err := fetch(ctx, "http://"+a.Metrics+"/metrics")
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(res) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			all[name] = v
		}
	}
	return all, nil
}

// collect makes the agent collect its garbage.
func collect(ctx context.Context, a *harness.Agent) error {
	_, err := fetch(ctx, "http://"+a.API+"/debug/pprof/heap?gc=1")
	return err
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := harness.Do(c, req)
	if err == nil && res.Status != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d: %s", url, res.Status, res.Body)
	}
	return res.Body, err
}

// profile writes a profile of the agent, if profiles are requested. what is a path below
// /debug/pprof.
func (b *bench) profile(ctx context.Context, file, what string) error {
	if b.profiles == "" {
		return nil
	}
	data, err := fetch(ctx, "http://"+b.stack.Agent.API+"/debug/pprof/"+what)
	if err != nil {
		return fmt.Errorf("take profile: %w", err)
	}
	return os.WriteFile(filepath.Join(b.profiles, file), []byte(data), 0o644)
}
