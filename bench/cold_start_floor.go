package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// floor is a copy of a revision's job under another name, unmanaged by Wadi: the time of a
// start that only calls Nomad and dials.
type floor struct {
	b       *bench
	job     string
	service string
	port    string // Label of the port that is dialled.
	placed  <-chan placement
	dial    dialer
	seen    map[string]bool // Allocations of earlier starts.
}

// dialEvery is how often the floor dials.
const dialEvery = 2 * time.Millisecond

// start is one measured start.
type start struct {
	call, placed, dialled, answered time.Duration // Since the beginning.
}

// floorOptions say how a floor differs from the revision's job.
type floorOptions struct {
	name string // Beside others of the same service.
	edit func(*nomad.Job)
	dial dialer
}

// newFloor registers the copy with count 0, and follows its placements until ctx ends.
func (b *bench) newFloor(ctx context.Context, s service, o floorOptions) (*floor, error) {
	job, _, err := b.stack.Nomad.Jobs().Info(s.revision(), (&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("read job of %s: %w", s.name, err)
	}
	id, zero := "floor-"+s.name+o.name, 0
	job.ID, job.Name, job.Meta = &id, &id, nil // Without the meta Wadi does not manage it.
	job.TaskGroups[0].Count = &zero
	if o.edit != nil {
		o.edit(job)
	}
	if _, _, err := b.stack.Nomad.Jobs().Register(job, (&nomad.WriteOptions{}).WithContext(ctx)); err != nil {
		return nil, fmt.Errorf("register %s: %w", id, err)
	}
	f := &floor{b: b, job: id, service: s.name, port: wadi.PortTraffic, dial: o.dial, seen: map[string]bool{}}
	if s.mesh {
		f.port = "connect-proxy-" + s.name
	}
	f.placed, err = b.follow(ctx, id)
	return f, err
}

// remove purges the copy.
func (f *floor) remove(ctx context.Context) error {
	_, _, err := f.b.stack.Nomad.Jobs().Deregister(f.job, true, (&nomad.WriteOptions{}).WithContext(ctx))
	return err
}

// start scales from zero to one, and dials from placement on until an answer is 200.
func (f *floor) start(ctx context.Context) (s start, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	began := time.Now()
	called := make(chan error, 1)
	go func() {
		err := f.b.scale(ctx, f.job, 1)
		s.call = time.Since(began)
		called <- err
	}()
	addr, err := f.address(ctx)
	if err != nil {
		return start{}, errors.Join(err, <-called)
	}
	s.placed = time.Since(began)
	tick := time.NewTicker(dialEvery)
	defer tick.Stop()
	for !f.answers(ctx, addr, func() {
		if s.dialled == 0 {
			s.dialled = time.Since(began)
		}
	}) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return start{}, errors.Join(fmt.Errorf("dial %s: %w", f.job, ctx.Err()), <-called)
		}
	}
	s.answered = time.Since(began)
	err = <-called // Before s is copied: its call is noted there.
	return s, err
}

// address is where the next placed allocation listens.
func (f *floor) address(ctx context.Context) (string, error) {
	for {
		select {
		case p, ok := <-f.placed:
			if !ok {
				return "", fmt.Errorf("wait for %s: the event stream ended", f.job)
			}
			if f.seen[p.ID] || p.DesiredStatus != "run" || p.AllocatedResources == nil {
				continue
			}
			for _, port := range p.AllocatedResources.Shared.Ports {
				if port.Label == f.port {
					f.seen[p.ID] = true
					return net.JoinHostPort(port.HostIP, strconv.Itoa(port.Value)), nil
				}
			}
		case <-ctx.Done():
			return "", fmt.Errorf("wait for %s to be placed: %w", f.job, ctx.Err())
		}
	}
}

// answers dials once and reports whether the app answers 200. It calls dialled when the
// connection is open.
func (f *floor) answers(ctx context.Context, addr string, dialled func()) bool {
	c, err := f.dial(ctx, addr)
	if err != nil {
		return false
	}
	dialled()
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", f.service); err != nil {
		return false
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}

// placement is the part of an allocation that a start needs.
type placement struct {
	ID, DesiredStatus  string
	AllocatedResources *struct {
		Shared struct{ Ports []nomad.PortMapping }
	}
}

// follow reads a job's allocations from the event stream until ctx ends.
func (b *bench) follow(ctx context.Context, job string) (<-chan placement, error) {
	q := url.Values{"topic": {"Allocation:" + job}, "index": {"0"}}
	body, err := b.stack.Nomad.Raw().Response("/v1/event/stream?"+q.Encode(), (&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", job, err)
	}
	out := make(chan placement, 64)
	go func() { // Ends with ctx, which ends the response.
		defer close(out)
		defer body.Close()
		d := json.NewDecoder(body)
		for {
			var batch struct {
				Events []struct {
					Payload struct{ Allocation placement }
				}
			}
			if d.Decode(&batch) != nil {
				return
			}
			for _, e := range batch.Events {
				select {
				case out <- e.Payload.Allocation:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}
