//go:build e2e

package consul_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

// holderEnv makes this test binary a process that has the lock until it is killed.
const holderEnv = "WADI_TEST_LOCK_HOLDER"

func TestMain(m *testing.M) {
	if url := os.Getenv(holderEnv); url != "" {
		hold(url)
		return
	}
	os.Exit(m.Run())
}

func hold(url string) {
	c, err := consul.New(consul.Config{Address: url})
	if err != nil {
		panic(err)
	}
	p := presence(c, "holder")
	go func() { _ = p.Run(context.Background()) }()
	_ = p.Elect(context.Background(), lockKey, "holder", func(ctx context.Context, _ *consul.Term) error {
		fmt.Println("leading")
		<-ctx.Done()
		return nil
	})
}

const lockKey = "wadi/leader"

// candidate contends for the lock, and reports the beginning and end of its terms.
type candidate struct {
	started, ended chan time.Time
	running        atomic.Int32
	stop           context.CancelFunc
	done           chan struct{}
}

func elect(t *testing.T, p *consul.Presence) *candidate {
	ctx, cancel := context.WithCancel(context.Background())
	c := &candidate{started: make(chan time.Time, 10), ended: make(chan time.Time, 10), done: make(chan struct{})}
	c.stop = func() { cancel(); <-c.done }
	go func() {
		defer close(c.done)
		err := p.Elect(ctx, lockKey, p.Service.ID, func(ctx context.Context, _ *consul.Term) error {
			c.running.Add(1)
			defer c.running.Add(-1)
			c.started <- time.Now()
			<-ctx.Done()
			c.ended <- time.Now()
			return nil
		})
		if err != nil {
			t.Errorf("elect: %v, want nil", err)
		}
	}()
	t.Cleanup(c.stop)
	return c
}

func TestElect_AnotherLeadsAfterAKill(t *testing.T) {
	a := consultest.StartAgent(t, false)
	c := newClient(t, a.URL)

	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderEnv+"="+a.URL)
	holder.Stderr = os.Stderr
	holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Process.Kill() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "leading\n" {
		t.Fatalf("holder says %q, %v", line, err)
	}

	p := presence(c, "heir")
	run(t, p)
	heir := elect(t, p)
	eventually(t, "heir is registered", func() bool { return !p.AliveUntil().IsZero() })
	select {
	case <-heir.started:
		t.Fatal("two lead at once")
	case <-time.After(6 * time.Second): // Longer than the TTL: the holder keeps it.
	}

	killed := time.Now()
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	at := within(t, "heir leads", heir.started)
	t.Logf("another led %s after SIGKILL", at.Sub(killed).Round(time.Millisecond))
	if gap := at.Sub(killed); gap > 15*time.Second { // It takes about 6 s on an idle machine.
		t.Errorf("another led after %s, want within 15 s", gap)
	}
}

// An agent that restarts before its check has failed keeps the check passing, and with it
// the session of its earlier run.
func TestElect_TakesOverFromItsEarlierRun(t *testing.T) {
	a := consultest.StartAgent(t, false)
	p := presence(newClient(t, a.URL), "again")
	run(t, p)
	eventually(t, "it is registered", func() bool { return !p.AliveUntil().IsZero() })
	lock(t, p)
	c := elect(t, p)
	within(t, "leads", c.started)
}

// Two agents with one name by mistake take the lock from each other at most once. Chance
// decides which of them has it then.
func TestElect_LeavesALivingNamesakeAlone(t *testing.T) {
	a := consultest.StartAgent(t, false)
	client := newClient(t, a.URL)
	p, q := presence(client, "twin"), presence(client, "twin")
	run(t, p)
	run(t, q)
	leads := elect(t, p)
	within(t, "one leads", leads.started)
	waits := elect(t, q)
	within(t, "one leads no more", leads.ended)
	select {
	case <-waits.started:
		leads, waits = waits, leads
	case <-leads.started:
	case <-time.After(patience):
		t.Fatal("there is no leader")
	}
	select {
	case <-waits.started:
		t.Error("they take the lock from each other")
	case <-leads.ended:
		t.Error("they take the lock from each other")
	case <-time.After(4 * time.Second):
	}
	leads.stop()
	within(t, "the other leads", waits.started)
}

// lock takes the lock with a session as an earlier run of p had it.
func lock(t *testing.T, p *consul.Presence) {
	t.Helper()
	client := p.Client.API()
	id, _, err := client.Session().Create(&api.SessionEntry{
		Name: p.Service.ID, NodeChecks: []string{"serfHealth"},
		ServiceChecks: []api.ServiceCheck{{ID: p.CheckID()}}, LockDelay: time.Second,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ok, _, err := client.KV().Acquire(&api.KVPair{Key: lockKey, Value: []byte("before"), Session: id}, nil)
	if err != nil || !ok {
		t.Fatalf("acquire: %v, %v", ok, err)
	}
}

func TestElect_HandsOverAtOnceWhenItStops(t *testing.T) {
	a := consultest.StartAgent(t, false)
	c := newClient(t, a.URL)
	first, second := presence(c, "first"), presence(c, "second")
	run(t, first)
	run(t, second)
	one := elect(t, first)
	within(t, "first leads", one.started)
	two := elect(t, second)

	var leader atomic.Value
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = c.WatchLeader(ctx, lockKey, func(v string) { leader.Store(v) }, nil) }()
	eventually(t, "the leader is known", func() bool { return leader.Load() == "wadi:first" })

	// The lock's delay would be part of each of them; a busy machine is slow in some.
	leads, waits, to, from := one, two, second, first
	fastest := time.Hour
	for try := 0; try < 5 && fastest > time.Second; try++ {
		leads.stop()
		stopped := time.Now()
		gap := within(t, "the other leads", waits.started).Sub(stopped)
		t.Logf("handed over in %s", gap.Round(time.Millisecond))
		fastest = min(fastest, gap)
		eventually(t, "the new leader is known", func() bool { return leader.Load() == to.Service.ID })
		leads, waits, to, from = waits, elect(t, from), from, to
	}
	if fastest > time.Second {
		t.Errorf("the fastest hand-over took %s, want no lock delay", fastest)
	}
}

func TestElect_StopsLeadingWithoutConsul(t *testing.T) {
	a := consultest.StartAgent(t, false)
	p := presence(newClient(t, a.URL), "lonely")
	run(t, p)
	c := elect(t, p)
	within(t, "leads", c.started)
	a.Kill()
	killed := time.Now()
	at := within(t, "stops leading", c.ended)
	if gap := at.Sub(killed); gap > consul.DefaultTTL+time.Second {
		t.Errorf("went on leading for %s, want at most the TTL, and the lock's delay of a second", gap)
	}
	a.Restart() // In dev mode: registration, session and lock are forgotten.
	within(t, "leads again", c.started)
}

func TestElect_StopsWhenTheLockIsTakenAway(t *testing.T) {
	a := consultest.StartAgent(t, false)
	p := presence(newClient(t, a.URL), "robbed")
	run(t, p)
	c := elect(t, p)
	within(t, "leads", c.started)
	if _, err := p.Client.API().KV().Delete(lockKey, nil); err != nil {
		t.Fatal(err)
	}
	within(t, "stops leading", c.ended)
	within(t, "leads again", c.started)
}

// The loss of a lock is noticed by a caller that confirms it, and ends the term.
func TestTerm_Confirm(t *testing.T) {
	a := consultest.StartAgent(t, false)
	p := presence(newClient(t, a.URL), "asks")
	run(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	err := p.Elect(ctx, lockKey, "asks", func(lead context.Context, term *consul.Term) error {
		defer cancel()
		if calls++; calls > 1 {
			return nil
		}
		if err := errors.Join(term.Certain(), term.Confirm(ctx)); err != nil {
			t.Errorf("while it leads: %v", err)
		}
		held := []consul.Op{term.Fence(), {Verb: consul.Set, Key: "fenced", Value: []byte("1")}}
		if _, err := p.Client.Txn(ctx, held); err != nil {
			t.Errorf("fenced write while it leads: %v", err)
		}
		if _, err := p.Client.API().Session().Destroy(term.Session, nil); err != nil {
			t.Error(err)
		}
		if err := term.Confirm(ctx); !errors.Is(err, wadi.ErrNotLeading) {
			t.Errorf("without the lock: got %v, want ErrNotLeading", err)
		}
		if _, err := p.Client.Txn(ctx, held); !errors.Is(err, wadi.ErrNotLeading) {
			t.Errorf("fenced write without the lock: got %v, want ErrNotLeading", err)
		}
		if !errors.Is(context.Cause(lead), wadi.ErrNotLeading) {
			t.Errorf("the term goes on: %v", context.Cause(lead))
		}
		return nil
	})
	if err != nil || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestElect_LeadEndsByItself(t *testing.T) {
	a := consultest.StartAgent(t, false)
	p := presence(newClient(t, a.URL), "weary")
	run(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := p.Elect(ctx, lockKey, "weary", func(context.Context, *consul.Term) error {
		if calls++; calls == 2 {
			cancel()
		}
		return errors.New("boom")
	})
	if err != nil || calls != 2 {
		t.Errorf("got %v after %d calls, want nil after 2", err, calls)
	}
	if got, err := p.Client.Get(t.Context(), lockKey); err != nil || got.Session != "" {
		t.Errorf("lock is held by %q, %v; want it released", got.Session, err)
	}
}
