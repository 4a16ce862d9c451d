package control_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// ending is a cluster whose tasks end. Nomad lists their exits for a while.
type ending struct {
	*cluster
	mu    sync.Mutex
	exits []wadi.Exit
}

func newEnding() *ending {
	e := &ending{cluster: newCluster()}
	e.cluster.exits = func(string, string) []wadi.Exit {
		e.mu.Lock()
		defer e.mu.Unlock()
		return append([]wadi.Exit(nil), e.exits...)
	}
	return e
}

// ends has a task end now. Nomad lists the last ten exits.
func (e *ending) ends(x wadi.Exit) {
	e.mu.Lock()
	x.At = time.Now().UnixNano()
	e.exits = append(e.exits, x)
	e.exits = e.exits[max(0, len(e.exits)-10):]
	e.mu.Unlock()
	e.cluster.mu.Lock()
	e.change()
	e.cluster.mu.Unlock()
	time.Sleep(3 * time.Second)
	synctest.Wait()
}

func (e *ending) steady() (c wadi.Condition, told bool) {
	for _, c := range e.service("hello").Status.Conditions {
		if c.Type == control.ConditionSteady {
			return c, true
		}
	}
	return c, false
}

// toldOf are the events of some types, without their times.
func toldOf(l *leader, types ...string) (out []string) {
	all, _, _ := l.Events.Since(0)
	for _, ev := range all {
		for _, typ := range types {
			if ev.Type == typ {
				out = append(out, typ+" "+ev.Revision+" "+ev.Message)
			}
		}
	}
	return out
}

// Tasks that end unexpectedly are reported by name, though the revision is ready: with a
// counter instead of more and more events, and only while it lasts.
func TestController_ReportsExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newEnding()
		l, stop := lead(t, c.cluster)
		c.submit("hello")
		time.Sleep(10 * time.Second)
		if cond, told := c.steady(); told {
			t.Errorf("nothing has ended, and yet %+v", cond)
		}
		c.ends(wadi.Exit{Instance: "0123456789", Task: "web", Code: 137, Signal: 9, OOM: true})
		if cond, _ := c.steady(); cond.OK || cond.Reason != control.ReasonOOM || !strings.HasPrefix(cond.Message, "hello-00001: the app (task web) was killed for want of memory, last at ") {
			t.Errorf("got %+v, want that the app was killed", cond)
		}
		for range 99 {
			c.ends(wadi.Exit{Instance: "abcdef0123", Task: "web", Code: 137, Signal: 9, OOM: true})
		}
		c.ends(wadi.Exit{Instance: "0123456789", Task: "web", Code: 3})
		c.ends(wadi.Exit{Instance: "0123456789", Task: wadi.TaskQueueProxy, Code: 137, Signal: 9})
		c.ends(wadi.Exit{Instance: "0123456789", Task: "connect-proxy-hello", Signal: 11, Code: 139})
		c.ends(wadi.Exit{Instance: "0123456789", Task: "web", Restart: "User requested task to restart"})
		const oom = "OutOfMemory hello-00001 the app (task web) was killed for want of memory"
		want := []string{oom + "; last in instance 01234567"}
		for n := 2; n < 100; n *= 2 {
			want = append(want, fmt.Sprintf("%s, %d times; last in instance abcdef01", oom, n))
		}
		want = append(want,
			"Exited hello-00001 the app (task web) exited with code 3; last in instance 01234567",
			"Exited hello-00001 Wadi's queue-proxy was killed by signal 9: for want of memory, or by another process; last in instance 01234567",
			"Exited hello-00001 the Envoy (task connect-proxy-hello) ended by signal 11; last in instance 01234567",
			"Restarted hello-00001 the app (task web) was restarted: User requested task to restart; last in instance 01234567",
		)
		if diff := cmp.Diff(want, toldOf(l, "OutOfMemory", "Exited", "Restarted")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		time.Sleep(30 * time.Second)
		st := c.service("hello").Status
		if e := st.Revisions[0].Exits; len(e) != 5 || e[0].Times != 100 || e[0].Kind != wadi.ExitOOM || e[4].Kind != wadi.ExitRestart {
			t.Errorf("got %+v, want five facts, the latest last", e)
		}
		if cond, _ := c.steady(); cond.Reason != control.ReasonOOM || !strings.Contains(cond.Message, "for want of memory, 100 times, last at") {
			t.Errorf("got %+v, want that of memory with its number", cond)
		}

		// The next leader goes on counting, and repeats no event.
		stop()
		l, stop = lead(t, c.cluster)
		defer stop()
		time.Sleep(10 * time.Second)
		if again := toldOf(l, "OutOfMemory", "Exited", "Restarted"); len(again) > 0 {
			t.Errorf("the next leader repeats %q", again)
		}
		for range 28 {
			c.ends(wadi.Exit{Instance: "0123456789", Task: "web", Code: 137, Signal: 9, OOM: true})
		}
		if got := toldOf(l, "OutOfMemory"); len(got) != 1 || !strings.Contains(got[0], ", 128 times") {
			t.Errorf("got %q, want the 128th", got)
		}
		time.Sleep(9 * time.Minute)
		if _, told := c.steady(); !told {
			t.Error("after nine minutes all is forgotten")
		}
		time.Sleep(2 * time.Minute)
		if cond, told := c.steady(); told {
			t.Errorf("after eleven minutes still %+v", cond)
		}
		time.Sleep(time.Hour)
		if e := c.service("hello").Status.Revisions[0].Exits; len(e) > 0 {
			t.Errorf("after an hour still %+v", e)
		}
	})
}

// However many ways there are to end, few are remembered, and the status is not stored
// with each. Names of tasks steer no terminal.
func TestLeader_ExitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newEnding()
		l, stop := lead(t, c.cluster)
		defer stop()
		c.submit("hello")
		time.Sleep(10 * time.Second)
		c.ends(wadi.Exit{Instance: "0123456789", Task: "\x1b[2J\n" + strings.Repeat("x", 1000), Code: 1})
		if got := toldOf(l, "Exited"); len(got) != 1 || len(got[0]) > 250 || strings.ContainsAny(got[0], "\x1b\n") {
			t.Errorf("got %q, want it plain and short", got)
		}
		for code := range 50 {
			c.ends(wadi.Exit{Instance: "0123456789", Task: "web", Code: 1 + code})
		}
		if e := c.service("hello").Status.Revisions[0].Exits; len(e) != 8 {
			t.Errorf("%d ways are remembered, want 8: %+v", len(e), e)
		}
		var stored []time.Time
		for range 64 {
			c.ends(wadi.Exit{Instance: "0123456789", Task: "web", Code: 50})
			st := c.service("hello").Status
			if last := st.Revisions[0].Exits[7].Last; len(stored) == 0 || !stored[len(stored)-1].Equal(last) {
				stored = append(stored, last)
			}
		}
		if len(stored) > 32 {
			t.Errorf("64 exits changed the status %d times, want about every ten seconds", len(stored))
		}
	})
}

// A driver reports that the kernel killed a process of a task for want of memory, also if
// the task's first process lived on, and ended later for another reason.
func TestController_MemoryOfAChild(t *testing.T) {
	for _, tt := range []struct {
		exit wadi.Exit
		want string
	}{
		{wadi.Exit{Code: 137, OOM: true}, "the app (task web) was killed for want of memory"},
		{wadi.Exit{Signal: 9, OOM: true}, "the app (task web) was killed for want of memory"},
		{wadi.Exit{Code: 3, OOM: true}, "the app (task web) exited with code 3, after a process of it was killed for want of memory"},
		{wadi.Exit{Signal: 6, Code: 134, OOM: true}, "the app (task web) ended by signal 6, after a process of it was killed for want of memory"},
		{wadi.Exit{OOM: true}, "the app (task web) ended, after a process of it was killed for want of memory"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newEnding()
			l, stop := lead(t, c.cluster)
			defer stop()
			c.submit("hello")
			time.Sleep(10 * time.Second)
			tt.exit.Instance, tt.exit.Task = "0123456789", "web"
			c.ends(tt.exit)
			if diff := cmp.Diff([]string{"OutOfMemory hello-00001 " + tt.want + "; last in instance 01234567"}, toldOf(l, "OutOfMemory")); diff != "" {
				t.Errorf("%+v: events (-want +got):\n%s", tt.exit, diff)
			}
		})
	}
}
