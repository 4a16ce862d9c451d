//go:build e2e

package mesh_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A service is deleted under calls from everywhere. While its last request ends, callers
// learn that it is gone, from the gateway and in the mesh: no request waits, wakes an
// instance, or registers anything that the deletion has to remove again.
func TestDelete_UnderCalls(t *testing.T) {
	const name, revision, enough = "ended", "ended-00001", 20
	t.Cleanup(func() { _ = stack.Agent.Delete(context.WithoutCancel(t.Context()), name) }) // It exists only if the test failed.
	must(t, "submit", stack.Agent.Apply(t.Context(), hello(name, options{initial: 1, more: `visibility = "public"`})))
	waitKnown(t, callerA, name)
	waitDirect(t, callerA, name)
	client := stack.Client(t)

	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, harnesstest.URL(name, "/?stream=100000&every=100ms"), nil)
	must(t, "make a request", err)
	flight, err := client.Do(req)
	must(t, "send a request that goes on", err)
	defer flight.Body.Close()

	registered := registrations(t, revision)
	from := map[string]*calls{
		"mesh": startCalls(t, callerA, name), "gateway": startCallsOf(t, client, harnesstest.URL(name, "/")),
	}
	for _, c := range from {
		eventually(t, waitLong, func() error { return c.had(http.StatusOK, enough) })
	}
	deleted := make(chan error, 1)
	go func() { deleted <- stack.Agent.Delete(t.Context(), name) }()
	for who, c := range from {
		err := harness.Eventually(t.Context(), waitLong, func() error { return c.had(http.StatusNotFound, enough) })
		if err != nil {
			t.Errorf("from the %s: %v\n%s", who, err, stack.LogOf(name, 40))
		}
	}
	select {
	case err := <-deleted:
		t.Errorf("it was deleted (%v) before the request in flight had ended", err)
		deleted <- err
	default:
	}
	for who, c := range from {
		gone := false
		for i, one := range c.end() {
			gone = gone || one.status == http.StatusNotFound
			if one.status != http.StatusOK && one.status != http.StatusNotFound || gone && one.status == http.StatusOK {
				t.Errorf("from the %s, call %d, gone %t: %d %s", who, i, gone, one.status, one.body)
			}
		}
	}
	leave()
	must(t, "delete", <-deleted)
	if n := registered(); n > 0 {
		t.Errorf("its job was registered %d times while it was deleted", n)
	}
	if _, _, err := stack.Nomad.Jobs().Info(revision, nil); err == nil {
		t.Error("its job is left")
	}
}

// had returns an error until so many calls had an answer with the status.
func (c *calls) had(status, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := map[int]int{}
	for _, one := range c.all {
		got[one.status]++
	}
	if got[status] < n {
		return fmt.Errorf("%d answers %d, want %d; all: %v", got[status], status, n, got)
	}
	return nil
}

// registrations counts how often a job is registered from now on, to have instances. That its
// count is lowered to zero is told as a registration too.
func registrations(t *testing.T, job string) func() int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	info, _, err := stack.Nomad.Jobs().Info(job, nil)
	must(t, "read the job", err)
	stream, err := stack.Nomad.EventStream().Stream(ctx, map[nomad.Topic][]string{nomad.TopicJob: {job}}, *info.ModifyIndex+1, nil)
	must(t, "read Nomad's events", err)
	var mu sync.Mutex
	n := 0
	go func() {
		for events := range stream {
			for _, e := range events.Events {
				job, err := e.Job()
				if e.Type == "JobRegistered" && e.Index > *info.ModifyIndex && (err != nil || *job.TaskGroups[0].Count > 0) {
					mu.Lock()
					n++
					mu.Unlock()
				}
			}
		}
	}()
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}
