package main

import (
	"context"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

const (
	// pollInterval is the pause after a failed read, and between reads of an agent that
	// has no indexes to wait by.
	pollInterval = 200 * time.Millisecond
	// followWait is how long the agent waits for a change. Overrides end without one.
	followWait    = 20 * time.Second
	answerTimeout = 30 * time.Second // Of an answer, besides that.
)

// serviceNews is a service as it is now, or why that can't be read.
type serviceNews struct {
	name    string
	service api.Service
	err     error
}

// follower reads services whenever they change.
type follower struct {
	client *api.Client
	news   chan serviceNews // Of each service the present state first.
	stop   map[string]context.CancelFunc
	ended  sync.WaitGroup
}

// follow follows services until ctx or end ends that.
func follow(ctx context.Context, client *api.Client, names ...string) *follower {
	f := &follower{client: client, news: make(chan serviceNews), stop: map[string]context.CancelFunc{}}
	for _, name := range names {
		if f.stop[name] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		f.stop[name] = stop
		f.ended.Go(func() { f.run(ctx, name) })
	}
	return f
}

// drop stops to follow a service. One more state of it may come.
func (f *follower) drop(name string) { f.stop[name]() }

// end stops to follow any, and waits for that.
func (f *follower) end() {
	for _, stop := range f.stop {
		stop()
	}
	f.ended.Wait()
}

// run sends a service's states until ctx ends.
func (f *follower) run(ctx context.Context, name string) {
	var index uint64
	for ctx.Err() == nil {
		s, next, err := f.read(ctx, name, index)
		if ctx.Err() != nil {
			return
		}
		select {
		case f.news <- serviceNews{name, s, err}:
		case <-ctx.Done():
			return
		}
		if index = next; index == 0 {
			_ = wadi.Sleep(ctx, pollInterval)
		}
	}
}

func (f *follower) read(ctx context.Context, name string, index uint64) (api.Service, uint64, error) {
	timeout := answerTimeout
	if index > 0 {
		timeout += followWait + followWait/16
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return f.client.ServiceAt(ctx, name, api.Query{Index: index, Wait: followWait})
}
