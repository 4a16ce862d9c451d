package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/mesh"
)

const (
	coldRuns     = 20
	coldMeshRuns = 6
	// listening is the row for the first successful dial; in the mesh with Envoy's
	// TLS, behind which there may be nothing yet.
	listening = "  floor: a dial succeeds"
	// settle is the pause between two starts, so that the bookkeeping after one does not
	// fall into the next.
	settle = 400 * time.Millisecond
	// attemptTimeout bounds one dial with TLS; a lost one is tried again.
	attemptTimeout = time.Second
)

// cold compares a request that wakes a service with the floor of the same job.
func cold(ctx context.Context, b *bench) (_ []section, err error) {
	host, err := b.coldStarts(ctx, coldTest{service: service{name: "cold", scale: byHand}, runs: coldRuns, dial: plain})
	if err != nil {
		return nil, err
	}
	host.Title = fmt.Sprintf("cold start, host network, mesh off, %d times each by turns", coldRuns)
	host.judge("p50 against the floor", host.ratio(0), 1.25)
	host.judge("p95 against the floor", host.ratio(1), 1.5)
	if !b.stack.Cluster.Bridge {
		host.note("no mesh here: %s", b.stack.Cluster.WhyNot)
		return []section{host.section}, nil
	}
	src, stop, err := b.member(ctx)
	if err != nil {
		return []section{host.section}, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	s := service{name: "coldmesh", mesh: true, scale: byHand}
	envoy, err := b.coldStarts(ctx, coldTest{service: s, runs: coldMeshRuns, dial: meshDial(src, s)})
	if err != nil {
		return []section{host.section}, err
	}
	envoy.Title = fmt.Sprintf("cold start, bridge network with Envoy, %d times each by turns", coldMeshRuns)
	envoy.judge("p50 against the floor", envoy.ratio(0), 1.2)
	for _, r := range envoy.Rows {
		if r.Label == listening {
			envoy.judge("p50 against the time to Envoy's listener alone", envoy.Rows[0].Values[0]/r.Values[0], 1.2)
		}
	}
	return []section{host.section, envoy.section}, nil
}

// plain dials by TCP.
func plain(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// meshDial dials the Envoy of an instance of s.
func meshDial(src *mesh.Source, s service) dialer {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		return src.Dial(ctx, addr, s.name)
	}
}

type dialer func(ctx context.Context, addr string) (net.Conn, error)

// coldTest is a comparison of cold starts.
type coldTest struct {
	service
	runs int
	dial dialer

	// beside measures something else after each pair; nil: nothing.
	beside func(ctx context.Context, note func(label string, d time.Duration)) error
	labels []string // Of that.
}

// comparison is a section whose first row is Wadi and whose second is the floor.
type comparison struct{ section }

func (c comparison) ratio(column int) float64 {
	return c.Rows[0].Values[column] / c.Rows[1].Values[column]
}

// coldStarts compares cold starts of a service with its floor.
func (b *bench) coldStarts(ctx context.Context, test coldTest) (c comparison, err error) {
	s := test.service
	if err := b.apply(ctx, s); err != nil {
		return c, err
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := b.newFloor(following, s, floorOptions{dial: test.dial})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, f.remove(context.WithoutCancel(ctx)), b.remove(ctx, s)) }()

	parts := map[string]samples{}
	for i := range test.runs + 1 {
		if err := b.coldPair(ctx, s, f, i%2 == 1, parts); err != nil {
			return c, err
		}
		if test.beside != nil {
			if err := test.beside(ctx, func(label string, d time.Duration) { parts[label] = append(parts[label], d) }); err != nil {
				return c, err
			}
		}
		if i == 0 {
			clear(parts) // The first start reads everything from the disk.
		}
	}
	c.Columns = []string{"p50 ms", "p95 ms", "min ms", "max ms"}
	for _, label := range append([]string{
		"through the gateway, by the client", "floor: call Nomad, dial every 2 ms",
		"  Wadi: waited before the wake began", "  Wadi: then until placed, as the stream says",
		"  Wadi: then until something answers there", "  Wadi: then until it says ready", "  Wadi: then forwarded",
		"  floor: Nomad's scale call", "  floor: placed", listening, "  floor: then until answered",
	}, test.labels...) {
		if p, ok := parts[label]; ok {
			c.add(label, p.at(.5), p.at(.95), p.at(0), p.at(1))
		}
	}
	c.add("ratio", c.ratio(0), c.ratio(1), c.ratio(2), c.ratio(3))
	return c, nil
}

// coldPair measures one cold start on each side, and waits until both are at zero again.
// Each side is first every other time, as the second may find warmer caches.
func (b *bench) coldPair(ctx context.Context, s service, f *floor, floorFirst bool, parts map[string]samples) error {
	sides := []func() error{
		func() error { return b.coldWadi(ctx, s, parts) },
		func() error { return b.coldFloor(ctx, f, parts) },
	}
	if floorFirst {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		if err := side(); err != nil {
			return err
		}
	}
	for _, job := range []string{s.revision(), f.job} {
		if err := b.stack.WaitGone(ctx, job, time.Minute); err != nil {
			return err
		}
	}
	return wadi.Sleep(ctx, settle)
}

// coldWadi measures a request that wakes s, and sends it back to zero.
func (b *bench) coldWadi(ctx context.Context, s service, parts map[string]samples) error {
	res, err := b.ask(ctx, s, "/")
	if err != nil {
		return err
	}
	t := timings(res.Header.Get("Server-Timing"))
	if t["place"]+t["start"] == 0 {
		return fmt.Errorf("%s was not cold: %s", s.name, res.Header.Get("Server-Timing"))
	}
	note := func(label string, d time.Duration) { parts[label] = append(parts[label], d) }
	note("through the gateway, by the client", res.Took)
	note("  Wadi: waited before the wake began", t["queue"])
	note("  Wadi: then until placed, as the stream says", t["place"])
	note("  Wadi: then until something answers there", t["start"])
	note("  Wadi: then until it says ready", t["probe"])
	note("  Wadi: then forwarded", t["forward"])
	return errors.Join(b.scale(ctx, s.revision(), 0), wadi.Sleep(ctx, settle))
}

// coldFloor measures the floor, and sends it back to zero.
func (b *bench) coldFloor(ctx context.Context, f *floor, parts map[string]samples) error {
	s, err := f.start(ctx)
	if err != nil {
		return err
	}
	note := func(label string, d time.Duration) { parts[label] = append(parts[label], d) }
	note("floor: call Nomad, dial every 2 ms", s.answered)
	note("  floor: Nomad's scale call", s.call)
	note("  floor: placed", s.placed)
	note(listening, s.dialled)
	note("  floor: then until answered", s.answered-s.placed)
	return errors.Join(b.scale(ctx, f.job, 0), wadi.Sleep(ctx, settle))
}

// timings reads a Server-Timing header.
func timings(header string) map[string]time.Duration {
	all := map[string]time.Duration{}
	for part := range strings.SplitSeq(header, ",") {
		name, dur, ok := strings.Cut(strings.TrimSpace(part), ";dur=")
		if v, err := strconv.ParseFloat(dur, 64); ok && err == nil {
			all[name] = time.Duration(v * float64(time.Millisecond))
		}
	}
	return all
}
