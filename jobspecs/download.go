package jobspecs

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Download is how Nomad's clients fetch the queue-proxy's program, for each instance anew.
type Download struct {
	// URL is below what the program is by its checksum, as Nomad's clients reach it. It may
	// have references that they resolve, such as ${attr.unique.network.ip-address}.
	URL string
	// Sums are the program's SHA-256 sums by the architecture of the node, as Nomad's
	// attr.cpu.arch has it.
	Sums map[string]string
}

// downloaded is the program's file in the task's folder; the node's architecture chooses it.
const downloaded = "local/queue-proxy_"

// downloadRestartDelay is how long Nomad waits before it starts a task again whose program
// could not be fetched, or that has died, plus up to a quarter of it.
const downloadRestartDelay = 500 * time.Millisecond

// Checksums are the sums, sorted.
func (d Download) Checksums() []string {
	return slices.Compact(slices.Sorted(maps.Values(d.Sums)))
}

// into makes a task fetch its program and run it. The checksums are in the job itself: whoever
// can change what the URL answers with makes the instance fail, and nothing else. One artifact
// can't have a checksum by architecture, so each architecture has its own, and each node gets
// them all.
func (d Download) into(task object) {
	if len(d.Sums) == 0 {
		return
	}
	if task["RestartPolicy"] == nil {
		// An agent that is being replaced answers again within seconds.
		task["RestartPolicy"] = object{"Attempts": 20, "Interval": time.Minute, "Delay": downloadRestartDelay, "Mode": "fail"}
	}
	archs := slices.Sorted(maps.Keys(d.Sums))
	artifacts, _ := task["Artifacts"].([]any)
	for _, arch := range archs {
		artifacts = append(artifacts, object{
			"GetterSource":  strings.TrimRight(d.URL, "/") + "/" + d.Sums[arch],
			"GetterMode":    "file",
			"GetterOptions": object{"checksum": "sha256:" + d.Sums[arch]},
			"RelativeDest":  downloaded + arch,
		})
	}
	task["Artifacts"] = artifacts
	inner(task, "Config")["command"] = downloaded + "${attr.cpu.arch}"
	constraints, _ := task["Constraints"].([]any)
	task["Constraints"] = append(constraints, object{
		"LTarget": "${attr.cpu.arch}", "Operand": "set_contains_any", "RTarget": strings.Join(archs, ","),
	})
}
