package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/network"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/agent/simulation"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
)

const (
	simTick   = 500 * time.Millisecond
	simPrefix = "wadi"
)

// simMetrics are shared: registering them costs more than a history.
var simMetrics = sync.OnceValue(func() *control.Metrics { return control.NewMetrics(prometheus.NewRegistry()) })

// world is a cluster with agents and users, in a bubble of synctest.
type world struct {
	gate    *simulation.Gate
	consul  *simulation.Consul
	entries *simulation.Entries
	nomad   *simulation.Nomad
	traffic *simulation.Traffic
	agents  []*simAgent
	began   time.Time
	faults  []fault
	tasks   sync.WaitGroup
	direct  *store.Writer // Reads what is stored, at once.

	accepted map[string]*accepted // By service: what users were told.
	terms    map[string]*simTerm  // By session.
	raced    map[string]bool      // Revisions that two submissions have registered.
	broken   string               // The first invariant that did not hold.
	trace    []string
	tracing  bool

	checkedAt, loadedAt uint64 // Of Consul's index.
	specs               map[string]readSpec
	loaded              map[string]*wadi.Stored
	programmed          map[string]programmed
}

// accepted is what users know of a service.
type accepted struct {
	generation uint64 // Of the last submission that was answered with success.
	revision   string // Its latest.
	deleted    bool   // A deletion was asked for since, whatever the answer.
	top        int    // The highest max that was ever submitted.
}

// simAgent is one agent: what it knows of Nomad and of routes, its waker, and its term while
// it leads.
type simAgent struct {
	w           *world
	name        string
	down        bool
	pausedUntil time.Time
	ctx         context.Context
	cancel      context.CancelFunc
	wg          *sync.WaitGroup
	view        *simulation.View
	owned       *control.Owned
	routes      atomic.Pointer[map[string]wadi.Route]
	waker       *control.Waker
	waking      map[string]*atomic.Bool
	term        *simTerm
	terms       int
}

// simTerm is one term of an agent.
type simTerm struct {
	agent      *simAgent
	name       string
	lock       *simulation.Term
	ctx        context.Context
	cancel     context.CancelFunc
	meter      *simulation.Meter
	controller *control.Controller
	steps      *control.Steps
	scaler     *control.Autoscaler
	sweeper    *control.Sweeper
	passes     int
	busy       [3]atomic.Bool
	next       [3]time.Time
}

// The loops of a term.
const (
	loopController = iota
	loopScaler
	loopSweeper
)

func newWorld(seed uint64, agents int) *world {
	g := simulation.NewGate(seed)
	w := &world{gate: g, consul: simulation.NewConsul(g), entries: simulation.NewEntries(g), nomad: simulation.NewNomad(g, "n1", "n2", "n3"),
		began: time.Now(), accepted: map[string]*accepted{}, terms: map[string]*simTerm{}, raced: map[string]bool{},
		specs: map[string]readSpec{}, loaded: map[string]*wadi.Stored{}, programmed: map[string]programmed{}}
	w.traffic = simulation.NewTraffic(w.nomad)
	w.direct = store.New(w.consul.Direct(), simPrefix, "observer", hclog.NewNullLogger()).Writer(consul.Lock{})
	g.Judge, g.Held = w.judge, w.held
	g.Trace = func(actor, what string, err error) {
		if w.tracing {
			w.tracef("%s: %s: %v", actor, what, err)
		}
	}
	w.consul.Written, w.nomad.Called, w.nomad.Stopped = w.checkWritten, w.checkCalled, w.checkStopped
	for i := range agents {
		a := &simAgent{w: w, name: fmt.Sprintf("a%d", i+1), down: true}
		w.agents = append(w.agents, a)
		a.start()
	}
	return w
}

func (w *world) tracef(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%7.3f ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
		w.tracef("BROKEN: %s", w.broken)
	}
}

// start starts an agent's process.
func (a *simAgent) start() {
	if !a.down {
		return
	}
	a.down = false
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.wg = &sync.WaitGroup{}
	a.owned = &control.Owned{}
	a.view = a.w.nomad.View()
	a.view.Reread, a.view.Lag = a.owned.Reread, func() time.Duration { return a.w.lag(a) }
	a.waking = map[string]*atomic.Bool{}
	a.routes.Store(&map[string]wadi.Route{})
	s := store.New(a.w.consul.Client(a.name+"/agent"), simPrefix, a.name, hclog.NewNullLogger())
	jobs := a.w.nomad.Client(a.name + "/waker")
	a.waker = &control.Waker{
		Jobs: jobs, Purger: jobs, Cluster: a.view, Store: s, Route: a.route,
		Events: &control.Events{}, Owned: a.owned, Log: hclog.NewNullLogger(),
	}
	ctx := a.ctx
	a.wg.Go(func() { _ = s.WatchRoutes(ctx, func(r map[string]wadi.Route) { a.routes.Store(&r) }) })
}

// stop ends an agent's process: killed, it leaves its session.
func (a *simAgent) stop(killed bool) {
	if a.down {
		return
	}
	if t := a.term; t != nil {
		t.end()
		if !killed {
			a.w.consul.End(t.lock.Session, false)
		}
	}
	a.down, a.term, a.pausedUntil = true, nil, time.Time{}
	a.cancel()
	a.view.Close()
}

func (a *simAgent) route(service string) (wadi.Route, bool) {
	r, ok := (*a.routes.Load())[service]
	return r, ok
}

func (a *simAgent) paused() bool { return time.Now().Before(a.pausedUntil) }

// lead begins a term.
func (a *simAgent) lead(session string) {
	w := a.w
	a.terms++
	t := &simTerm{agent: a, name: fmt.Sprintf("%s/term%d", a.name, a.terms)}
	t.ctx, t.cancel = context.WithCancel(a.ctx)
	kv := store.New(w.consul.Client(t.name), simPrefix, a.name, hclog.NewNullLogger())
	t.lock = w.consul.NewTerm(t.name, kv.LeaderKey(), session, t.cancel)
	w.terms[t.name] = t
	writer, jobs := kv.Writer(t.lock.Lock), leaderNomad{w.nomad.Client(t.name), t.lock, a.view}
	t.meter = simulation.NewMeter(w.nomad, w.traffic, t.name)
	t.scaler = control.NewAutoscaler()
	events, log := &control.Events{}, hclog.NewNullLogger()
	t.controller = &control.Controller{
		Jobs: jobs, Plans: jobs, Cluster: a.view, ClusterNews: a.view, Store: writer, State: writer, Remover: writer,
		Network: network.Layers{&mesh.Layer{Entries: leaderEntries{w.entries.Client(t.name), t.lock}}},
		Meter:   t.meter, Agents: func() []control.Source { return nil }, Memory: t.scaler.Memory, Acted: t.scaler.Poke,
		URL:    func(s wadi.Service) string { return "http://" + s.Name },
		Events: events, Owned: a.owned, Log: log, Metrics: simMetrics(),
	}
	t.scaler.Counts, t.scaler.Cluster, t.scaler.Loads = jobs, a.view, t.meter
	t.scaler.Orders, t.scaler.Nodes = leaderOrders{w.nomad.Client(t.name), t.lock}, w.nomad
	t.scaler.Services, t.scaler.Warming = t.controller.Services, t.controller.Warming
	t.scaler.Wakeable = t.controller.Wakeable
	t.scaler.History, t.scaler.Events, t.scaler.Owned, t.scaler.Log, t.scaler.Metrics = &control.History{}, events, a.owned, log, simMetrics()
	t.sweeper = &control.Sweeper{
		List: w.nomad.Client(t.name).OwnJobs, Services: t.controller.Services, Store: kv.Writer(t.lock.Lock), Jobs: jobs,
		Events: events, Log: log,
	}
	a.term = t
	t.steps = t.controller.Steps(t.ctx)
	t.next[loopSweeper] = time.Now().Add(time.Minute)
	if w.tracing {
		w.tracef("%s leads, %s", t.name, session)
	}
}

// end ends a term in this process.
func (t *simTerm) end() {
	t.cancel()
	if t.agent.term == t {
		t.agent.term = nil
	}
}

// elect passes checks, loses locks and gets them, as far as Consul answers.
func (w *world) elect() {
	w.consul.Expire()
	for _, a := range w.agents {
		if a.down || a.paused() {
			continue
		}
		if t := a.term; t != nil {
			switch {
			case w.consulAway(a) && t.lock.Certain() == nil:
			case w.consulAway(a):
				t.end()
			default:
				t.lock.Renew()
			}
			if t.ctx.Err() != nil {
				t.end()
				w.consul.End(t.lock.Session, false)
			}
			continue
		}
		if w.consulAway(a) || w.gate.Rand.IntN(2) == 0 {
			continue
		}
		if id := w.consul.Acquire(a.name, simPrefix+"/leader"); id != "" {
			a.lead(id)
		}
	}
}

// tick is one step of time.
func (w *world) tick() {
	time.Sleep(simTick)
	w.endFaults()
	w.gate.Settle()
	w.elect()
	for _, a := range w.agents {
		if a.down || a.paused() {
			continue
		}
		if !a.view.Connected() && !w.nomadAway(a) {
			a.view.Connect()
		}
		a.view.Deliver()
	}
	w.nomad.Tick()
	if len(w.nomad.Draining()) > 0 && w.gate.Rand.IntN(6) == 0 {
		w.nomad.Migrate(w.gate.Rand.IntN(8) == 0)
	}
	w.traffic.Tick(w.routes())
	for _, a := range w.agents {
		if a.down || a.paused() {
			continue
		}
		if t := a.term; t != nil {
			t.meter.Poll(w.hasFault(faultSilent, a))
			w.loop(t, loopController, 2*time.Second, 2, func() { t.passes++; t.steps.Pass(t.ctx) })
			w.loop(t, loopScaler, 2*time.Second, 2, func() { t.scaler.Pass(t.ctx) })
			w.loop(t, loopSweeper, time.Minute, 0, func() { t.sweeper.Pass(t.ctx) })
		}
		w.wake(a)
	}
	w.gate.Settle()
	w.checkStored()
}

// loop starts a pass of a loop that is due, or that is made early, one time in n.
func (w *world) loop(t *simTerm, i int, every time.Duration, n int, pass func()) {
	now := time.Now()
	early := n > 0 && w.gate.Rand.IntN(n) == 0
	if t.busy[i].Load() || now.Before(t.next[i]) && !early {
		return
	}
	t.next[i] = now.Add(every)
	t.busy[i].Store(true)
	t.agent.wg.Go(func() {
		defer t.busy[i].Store(false)
		pass()
	})
	w.gate.Settle()
}

// wake has an agent wake what requests wait for there.
func (w *world) wake(a *simAgent) {
	for service, level := range w.levels() {
		if level == 0 {
			continue
		}
		r, ok := a.route(service)
		if !ok {
			continue
		}
		for _, target := range r.Targets {
			id := target.Revision
			if w.traffic.Waiting(id) == 0 || w.gate.Rand.IntN(2) == 0 {
				continue
			}
			if a.waking[id] == nil {
				a.waking[id] = &atomic.Bool{}
			}
			if busy := a.waking[id]; !busy.Swap(true) {
				a.wg.Go(func() {
					defer busy.Store(false)
					ctx, cancel := context.WithTimeout(a.ctx, 10*time.Second)
					defer cancel()
					_ = a.waker.Wake(ctx, id)
				})
			}
		}
	}
	w.gate.Settle()
}

// levels are the loads of services, in order.
func (w *world) levels() func(func(string, int) bool) {
	return func(yield func(string, int) bool) {
		for _, s := range simServices {
			if !yield(s, w.traffic.Level(s)) {
				return
			}
		}
	}
}

// routes are those that callers go by: of an agent that knows some.
func (w *world) routes() map[string]wadi.Route {
	for _, a := range w.agents {
		if !a.down && !a.paused() {
			return *a.routes.Load()
		}
	}
	return nil
}

// leader is the agent whose session has the lock; nil: none.
func (w *world) leader() *simAgent {
	holder := w.consul.Holder(simPrefix + "/leader")
	for _, a := range w.agents {
		if t := a.term; t != nil && t.lock.Session == holder {
			return a
		}
	}
	return nil
}

// close ends everything that runs.
func (w *world) close() {
	w.gate.Judge, w.gate.Held = nil, nil
	for _, a := range w.agents {
		a.stop(true)
	}
	w.gate.Settle()
	for range 20 {
		time.Sleep(5 * time.Second) // What waits for its deadline has met it.
		w.gate.Settle()
	}
	w.tasks.Wait()
	for _, a := range w.agents {
		a.wg.Wait()
	}
}

// user does something on behalf of a user, beside everything else.
func (w *world) user(do func(ctx context.Context, u simUser)) {
	up := slices.DeleteFunc(slices.Clone(w.agents), func(a *simAgent) bool { return a.down || a.paused() })
	if len(up) == 0 {
		return
	}
	a := up[w.gate.Rand.IntN(len(up))]
	actor := a.name + "/api"
	u := simUser{w: w, store: store.New(w.consul.Client(actor), simPrefix, a.name, hclog.NewNullLogger()), jobs: w.nomad.Client(actor)}
	w.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
		defer cancel()
		do(ctx, u)
	})
	w.gate.Settle()
}

// simUser is a user's call at one agent.
type simUser struct {
	w     *world
	store *store.Store
	jobs  *simulation.NomadClient
}

func agentOf(actor string) string {
	name, _, _ := strings.Cut(actor, "/")
	return name
}

// simJob is the job of a revision.
func simJob(service string, n int, start time.Duration) json.RawMessage {
	b, err := json.Marshal(simulation.Body{ID: wadi.RevisionID(service, n), Service: service, Namespace: "default", Version: n, Start: start})
	if err != nil {
		panic(err)
	}
	return b
}
