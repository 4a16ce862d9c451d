package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

const savingsRuns = 6

// saving is a change of a job that may make its instances start sooner.
type saving struct {
	what string
	only func(kind) bool // Nil: of all kinds.
	edit func(*nomad.Job)
}

// asInit is the job that the others are compared with: the queue-proxy and Envoy are
// containers, and no logs of the queue-proxy are collected.
const asInit = "as \"wadi init\" writes it"

func (b boxed) savings() []saving {
	config := func(name, key string, value any) func(*nomad.Job) {
		return func(j *nomad.Job) { task(j, name).SetConfig(key, value) }
	}
	program := func(driver string) func(*nomad.Job) {
		return func(j *nomad.Job) {
			t := task(j, wadi.TaskQueueProxy)
			t.Driver, t.Config = driver, map[string]any{"command": b.queueProxyProgram()}
		}
	}
	mesh := func(k kind) bool { return k.mesh }
	return []saving{
		{what: asInit, edit: func(*nomad.Job) {}},
		{what: "logs of the queue-proxy are collected, too", edit: func(j *nomad.Job) { task(j, wadi.TaskQueueProxy).LogConfig.Disabled = new(false) }},
		{what: "no logs of the app are collected", edit: func(j *nomad.Job) { task(j, "web").LogConfig.Disabled = new(true) }},
		{what: "no logs of Envoy are collected", only: mesh, edit: noEnvoyLogs},
		{what: "the queue-proxy by raw_exec", edit: program("raw_exec")},
		{what: "Envoy by raw_exec", only: mesh, edit: envoyProgram},
		{what: "Envoy and the queue-proxy by raw_exec", only: mesh, edit: func(j *nomad.Job) { program("raw_exec")(j); envoyProgram(j) }},
		{what: "init = true for the app", edit: config("web", "init", true)},
		{what: "pids_limit = 100 for the app", edit: config("web", "pids_limit", 100)},
	}
}

// task is a task of a job.
func task(j *nomad.Job, name string) *nomad.Task {
	for _, t := range j.TaskGroups[0].Tasks {
		if t.Name == name {
			if t.LogConfig == nil {
				t.LogConfig = &nomad.LogConfig{}
			}
			return t
		}
	}
	return &nomad.Task{LogConfig: &nomad.LogConfig{}} // Every job of the benchmark has it.
}

func sidecar(j *nomad.Job) *nomad.SidecarTask {
	return j.TaskGroups[0].Services[0].Connect.SidecarTask
}

// noEnvoyLogs keeps the bounds of the logs, which Nomad compares with the disk.
func noEnvoyLogs(j *nomad.Job) {
	t := sidecar(j)
	if t.LogConfig == nil {
		t.LogConfig = &nomad.LogConfig{}
	}
	t.LogConfig.Disabled = new(true)
}

// envoyProgram runs Envoy as the development cluster does, from Nomad's PATH.
func envoyProgram(j *nomad.Job) {
	t := sidecar(j)
	t.Driver, t.Config = "raw_exec", map[string]any{
		"command": "/bin/sh",
		"args":    []string{"-c", "ln -sfn ../alloc alloc; exec envoy -c $NOMAD_SECRETS_DIR/envoy_bootstrap.json -l warning --concurrency 1 --disable-hot-restart"},
	}
}

// savings measures what makes a start of containers sooner, by direct calls of Nomad.
func savings(ctx context.Context, b *bench) ([]section, error) {
	return b.withEngine(ctx, func(b boxed) ([]section, error) {
		return b.each(ctx, func(k kind, dial dialer) (section, error) { return b.savingsOf(ctx, k, dial) })
	})
}

func (b boxed) savingsOf(ctx context.Context, k kind, dial dialer) (out section, err error) {
	if err := b.apply(ctx, k.service); err != nil {
		return out, err
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	var floors []*floor
	var names []string
	defer func() {
		for _, f := range floors {
			err = errors.Join(err, f.remove(context.WithoutCancel(ctx)))
		}
		err = errors.Join(err, b.remove(context.WithoutCancel(ctx), k.service))
	}()
	for i, s := range b.savings() {
		if s.only != nil && !s.only(k) {
			continue
		}
		f, err := b.newFloor(following, k.service, floorOptions{name: fmt.Sprintf("-%d", i), edit: s.edit, dial: dial})
		if err != nil {
			return out, err
		}
		floors, names = append(floors, f), append(names, s.what)
	}
	took, err := b.byTurns(ctx, floors)
	if err != nil {
		return out, err
	}
	out = section{
		Title:   fmt.Sprintf("what makes a start of containers sooner, %s, %d times each by turns, by Nomad alone", k.what, savingsRuns),
		Columns: []string{"p50 ms", "min ms", "max ms", "p50 ratio", "min ratio"},
	}
	for i, name := range names {
		out.add(name, took[i].at(.5), took[i].at(0), took[i].at(1), took[i].at(.5)/took[0].at(.5), took[i].at(0)/took[0].at(0))
	}
	return out, nil
}

// byTurns starts and stops each job, each time in another order, and returns how long each
// start took.
func (b boxed) byTurns(ctx context.Context, floors []*floor) ([]samples, error) {
	took := make([]samples, len(floors))
	for run := range savingsRuns + 1 {
		order := make([]int, len(floors))
		for i := range order {
			order[i] = (i + run) % len(floors)
		}
		if run%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			s, err := floors[i].start(ctx)
			if err != nil {
				return nil, err
			}
			if run > 0 { // The first start reads everything from the disk.
				took[i] = append(took[i], s.answered)
			}
			if err := b.scale(ctx, floors[i].job, 0); err != nil {
				return nil, err
			}
			if err := b.stack.WaitGone(ctx, floors[i].job, time.Minute); err != nil {
				return nil, err
			}
			if err := wadi.Sleep(ctx, settle); err != nil {
				return nil, err
			}
		}
	}
	return took, nil
}
