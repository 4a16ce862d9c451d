package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// scaleSize is how far a scale benchmark goes.
type scaleSize struct {
	points    []int // Services of the curve.
	wakes     int   // Services woken at once, at the last point.
	instances int   // Of an in-memory Nomad, on top of the last point; 0: none.
	each      int   // Instances of a service there.
	mesh      int   // Services in the mesh whose config entries are measured.
	rest      time.Duration
}

var (
	scaleShort = scaleSize{points: []int{10, 100, 1000}, wakes: 50, mesh: 100, rest: 20 * time.Second}
	scaleWhole = scaleSize{points: []int{10, 100, 1000, 5000}, wakes: 500, instances: 20000, each: 4, mesh: 1000, rest: 35 * time.Second}
)

// atScale measures one agent with many services.
func atScale(size scaleSize) func(context.Context, *bench) ([]section, error) {
	return func(ctx context.Context, b *bench) ([]section, error) { return b.atScale(ctx, size) }
}

func (b *bench) atScale(ctx context.Context, size scaleSize) (all []section, err error) {
	s, err := newScaleStage(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	toNomad, err := newRelay(s.stack.Cluster.NomadAddr, nil)
	if err != nil {
		return nil, err
	}
	if err := s.begin(toNomad); err != nil {
		return nil, err
	}
	curve := newScaleCurve("one agent that leads; real Nomad and Consul, services in the host's network at zero")
	for _, n := range size.points {
		err := s.grow(ctx, n)
		if err == nil {
			err = s.point(ctx, &curve, fmt.Sprintf("%d services", n), size.rest)
		}
		if err != nil {
			return []section{curve}, err // What was measured before is worth something.
		}
	}
	s.judge(&curve)
	all = append(all, curve)
	woken, err := s.wakeAtOnce(ctx, size.wakes)
	if err != nil {
		return all, err
	}
	all = append(all, woken)
	if size.instances > 0 {
		held, err := s.withInstances(ctx, size)
		if err != nil {
			return all, err
		}
		all = append(all, held)
	}
	entries, err := s.configEntries(ctx, size.mesh)
	if err != nil {
		return all, err
	}
	return append(all, entries), nil
}

func newScaleCurve(title string) section {
	return section{
		Title: title,
		Columns: []string{
			"agent %", "MiB", "Nomad %", "Consul %", "Nomad req/s", "Consul req/s", "conns",
			"new leader s", "reconcile s", "change p50 ms", "max", "wake p50 ms", "max",
		},
	}
}

// point adds what an agent needs at a number of services: first a new one, which has everything
// to learn, and then one that has nothing to do.
func (s *scaleStage) point(ctx context.Context, out *section, label string, lasts time.Duration) error {
	s.b.logf("scale: %s", label)
	learnt, err := s.newLeader(ctx)
	if err != nil {
		return err
	}
	r, err := s.rest(ctx, lasts)
	if err != nil {
		return err
	}
	change, wake, err := s.reactions(ctx)
	if err != nil {
		return err
	}
	out.add(label, append(r, learnt.Seconds(), s.whole, change.at(.5), change.at(1), wake.at(.5), wake.at(1))...)
	return nil
}

// judge compares the last point with its targets, and the first with the last.
func (s *scaleStage) judge(out *section) {
	first, last := out.Rows[0].Values, out.Rows[len(out.Rows)-1].Values
	out.judge("% of a core, quiet", last[0], 5)
	out.judge("MB", last[1]*1.048576, 500)
	out.judge("s of a full reconcile", last[8], 5)
	out.judge("ms from a stored change to the scale call, p50", last[9], 100)
	out.judge("requests/s to Nomad and Consul, against the first row", (last[4]+last[5])/(first[4]+first[5]), 1.1)
	out.judge("connections to both, against the first row", last[6]/first[6], 1.1)
	out.note("new leader: from the start of a new agent until it has reconciled every service once; reconcile: the same of an agent that leads, twice a minute")
	out.note("change: from the answer of Consul, that a service's file is stored, to the scale call; wake: from the request for a service at zero to that")
}

// newLeader starts the agent anew, and waits until it has reconciled each service.
func (s *scaleStage) newLeader(ctx context.Context) (time.Duration, error) {
	if err := s.agent.Stop(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := s.agent.Start(ctx); err != nil {
		return 0, err
	}
	err := harness.Eventually(ctx, 5*time.Minute, func() error {
		all, err := gauges(ctx, s.agent)
		if done := all["wadi_controller_reconciles_total"]; err == nil && done < float64(s.services) {
			err = fmt.Errorf("%.0f of %d services reconciled", done, s.services)
		}
		return err
	})
	return time.Since(began), err
}

// scaleCalm is after what time an agent has nothing to do.
const scaleCalm = 10 * time.Second

// rest measures an agent that has nothing to do: the first values of a row.
func (s *scaleStage) rest(ctx context.Context, lasts time.Duration) ([]float64, error) {
	if err := wadi.Sleep(ctx, scaleCalm); err != nil {
		return nil, err
	}
	pids := []int{s.agent.PID(), s.stack.Cluster.Nomad.PID(), s.stack.Cluster.Consul.PID()}
	before := make([]time.Duration, len(pids))
	for i, pid := range pids {
		var err error
		if before[i], err = harness.CPUTime(pid); err != nil {
			return nil, err
		}
	}
	nomads, consuls := s.toward.nomad.requests.Load(), s.toward.consul.requests.Load()
	began := time.Now()
	profiled := make(chan error, 1)
	go func() {
		profiled <- s.profile(ctx, s.profileName("cpu"), fmt.Sprintf("profile?seconds=%d", int(lasts.Seconds())-1))
	}()
	if err := errors.Join(wadi.Sleep(ctx, lasts), <-profiled); err != nil {
		return nil, err
	}
	took := time.Since(began)
	var row []float64
	memory, err := rss(pids[0])
	for i, pid := range pids {
		after, err := harness.CPUTime(pid)
		if err != nil {
			return nil, err
		}
		row = append(row, 100*float64(after-before[i])/float64(took))
		if i == 0 {
			row = append(row, memory/(1<<20))
		}
	}
	row = append(row,
		float64(s.toward.nomad.requests.Load()-nomads)/took.Seconds(), float64(s.toward.consul.requests.Load()-consuls)/took.Seconds(),
		float64(s.toward.nomad.conns.Load()+s.toward.consul.conns.Load()))
	all, err2 := gauges(ctx, s.agent)
	s.whole = all["wadi_controller_whole_seconds"]
	return row, errors.Join(err, err2, s.profile(ctx, s.profileName("heap"), "heap"), s.profile(ctx, s.profileName("allocs"), "allocs"))
}

func (s *scaleStage) profileName(what string) string {
	return fmt.Sprintf("scale-%d-%d-%s.pprof", s.services, s.instances, what)
}

// profile writes a profile of the agent, if profiles are requested.
func (s *scaleStage) profile(ctx context.Context, file, what string) error {
	own := *s.b
	own.stack = &harness.Stack{Agent: s.agent}
	return own.profile(ctx, file, what)
}

// withInstances measures the same agent with many instances, of a Nomad in memory.
func (s *scaleStage) withInstances(ctx context.Context, size scaleSize) (out section, err error) {
	out = newScaleCurve("the same services with instances that are idle; Consul is real, Nomad and the instances are this program's")
	most := size.instances
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return out, err
	}
	if room := int(files.Max) - 1000; room < most { // The agent has a connection to each.
		out.note("no more than %d instances: a process may have %d files here", room, files.Max)
		most = room
	}
	const servers = 2 // Each has a connection of every instance that it plays.
	var ports [servers]int
	for i := range ports {
		port, stop, err := startInstances(ctx, size.each)
		if err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, stop()) }()
		ports[i] = port
	}
	m := newMemoryNomad()
	m.metricsPort = func(n int) int { return ports[n%servers] }
	for i := range s.services {
		if err := m.register(s.jobOf(scaleName(i))); err != nil {
			return out, err
		}
	}
	if err := s.agent.Stop(ctx); err != nil {
		return out, err
	}
	s.instances = m.place(size.each, most)
	for i := range s.services { // They stay, idle as they are.
		if err := s.submitLeast(ctx, scaleName(i), size.each); err != nil {
			return out, err
		}
	}
	old := s.toward.nomad
	relay, err := newRelay("", m.handler())
	if err != nil {
		return out, err
	}
	if err := errors.Join(old.close(), s.begin(relay)); err != nil {
		return out, err
	}
	s.b.logf("scale: %d instances", s.instances)
	learnt, err := s.newLeader(ctx)
	if err != nil {
		return out, err
	}
	if err := harness.Eventually(ctx, 5*time.Minute, s.allRead(ctx)); err != nil {
		return out, err
	}
	r, err := s.rest(ctx, size.rest)
	if err != nil {
		return out, err
	}
	out.add(fmt.Sprintf("%d services, %d instances", s.services, s.instances), append(r, learnt.Seconds(), s.whole)...)
	out.judge("% of a core, quiet", r[0], 5)
	out.judge("MB", r[1]*1.048576, 500)
	out.judge("s of a full reconcile", s.whole, 5)
	return out, nil
}

// allRead fails until the agent follows every instance.
func (s *scaleStage) allRead(ctx context.Context) func() error {
	return func() error {
		all, err := gauges(ctx, s.agent)
		if n := all["wadi_scrape_sources"]; err == nil && n < float64(s.instances) {
			err = fmt.Errorf("%.0f of %d instances followed", n, s.instances)
		}
		return err
	}
}
