package connlimit_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/proxy/connlimit"
)

// fakeConn is a connection with a slot of a budget.
type fakeConn struct {
	name   string
	unread bool
	slot   *connlimit.Slot
	book   *book
}

func (c *fakeConn) HasUnread() bool { return c.unread }
func (c *fakeConn) Evict()          { c.book.evicted = append(c.book.evicted, c.name) }

// book is a budget, and what it has closed.
type book struct {
	*connlimit.Budget
	evicted []string
}

func (b *book) admit(owner, name string) *fakeConn {
	c := &fakeConn{name: name, book: b}
	if c.slot = b.Admit(owner, false, c); c.slot == nil {
		return nil
	}
	return c
}

func (b *book) took(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, b.evicted); diff != "" {
		t.Errorf("closed (-want +got):\n%s", diff)
	}
	b.evicted = nil
}

// The largest owner's connections go first, the longest idle before the others;
// none with a request, and none on which one may be on its way.
func TestConnBudget_WhoGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{Budget: connlimit.NewBudget(8)}
		all := map[string]*fakeConn{}
		for _, name := range []string{"a1", "b1", "a2", "a3", "a4", "b2", "c1", "a5"} {
			all[name] = b.admit(name[:1], name)
		}
		all["a1"].slot.Set(connlimit.Active)
		all["a2"].slot.Set(connlimit.Active)
		all["a2"].slot.Set(connlimit.Idle) // The last one now.
		all["a3"].unread = true
		all["b1"].slot.Set(connlimit.Reading)
		for i := range 3 {
			if b.admit("d", fmt.Sprint("d", i)) == nil {
				t.Fatalf("d%d was not let in", i)
			}
		}
		b.took(t, "a4", "a5", "a2")
		// The largest owner is d now; when all that it has is in use, others' go.
		all["c1"].slot.Set(connlimit.Active)
		b.admit("e", "e1")
		b.took(t, "d0")
		all["b2"].slot.Set(connlimit.Active)
		time.Sleep(time.Hour) // The header of b1 is still not whole.
		e := b.admit("e", "e2")
		b.took(t, "d1")
		e.slot.Set(connlimit.Active)
		b.admit("f", "f1")
		b.took(t, "d2")
		b.admit("g", "g1")
		b.took(t, "e1")
		b.admit("h", "h1")
		if b.took(t, "f1"); b.Open() != 8 {
			t.Errorf("%d are open", b.Open())
		}
	})
}

func TestConnBudget_StaleHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{Budget: connlimit.NewBudget(2)}
		b.admit("a", "a1").slot.Set(connlimit.Reading)
		b.admit("b", "b1").slot.Set(connlimit.Active)
		if b.admit("c", "c1") != nil {
			t.Error("a header that has just begun made room")
		}
		time.Sleep(time.Second)
		if b.admit("c", "c1") == nil {
			t.Error("a header that does not get on made no room")
		}
		b.took(t, "a1")
	})
}

// An owner holds twice what is left, so that a newcomer finds a slot.
func TestConnBudget_Shares(t *testing.T) {
	b := &book{Budget: connlimit.NewBudget(9000)}
	fill := func(owner string) (n int) {
		for {
			c := b.admit(owner, owner)
			if c == nil {
				return n
			}
			c.slot.Set(connlimit.Active)
			n++
		}
	}
	var got []int
	for i := range 5 {
		got = append(got, fill(fmt.Sprint(i)))
	}
	if diff := cmp.Diff([]int{6000, 2000, 667, 222, 74}, got); diff != "" {
		t.Errorf("connections of those that come one after the other (-want +got):\n%s", diff)
	}
	for i := range 3 { // And their last reserve, whatever others do.
		if n := fill(fmt.Sprint("late", i)); n < 1 {
			t.Errorf("a late one got %d", n)
		}
	}
}

// A connection whose owner turns out to have too many is closed, unless an idle one
// of that owner can be.
func TestConnBudget_Assign(t *testing.T) {
	b := &book{Budget: connlimit.NewBudget(30)}
	var first *fakeConn
	for i := range 25 {
		c := b.admit(fmt.Sprint("peer", i), fmt.Sprint(i))
		c.slot.Set(connlimit.Active)
		if ok := c.slot.Assign("web"); ok != (i < 20) {
			t.Fatalf("connection %d was let in: %t", i, ok)
		}
		if i == 0 {
			first = c
		}
	}
	if b.Open() != 20 {
		t.Errorf("%d are open, want 20", b.Open())
	}
	first.slot.Set(connlimit.Idle)
	if !b.admit("peer", "another").slot.Assign("web") {
		t.Error("an idle one made no room for one of the same owner")
	}
	b.took(t, "0")
	if first.slot.Assign("web") {
		t.Error("one that was closed was assigned")
	}
}

// Whatever happens, the bound holds, and what has left has left.
func TestConnBudget_AnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const most = 40
	b := &book{Budget: connlimit.NewBudget(most)}
	var all []*fakeConn
	for step := range 50_000 {
		switch n := rng.IntN(10); {
		case n < 4 || len(all) == 0:
			owner := fmt.Sprint(rng.IntN(6))
			c := &fakeConn{book: b, unread: rng.IntN(4) == 0}
			if c.slot = b.Admit(owner, rng.IntN(8) == 0, c); c.slot != nil {
				all = append(all, c)
			}
		case n < 8:
			all[rng.IntN(len(all))].slot.Set(connlimit.State(rng.IntN(3)))
		case n == 8:
			all[rng.IntN(len(all))].slot.Assign(fmt.Sprint("id", rng.IntN(3)))
		default:
			i := rng.IntN(len(all))
			all[i].slot.Release()
			all = append(all[:i], all[i+1:]...)
		}
		if b.Open() > most || b.Open() < 0 {
			t.Fatalf("step %d: %d are open", step, b.Open())
		}
	}
	for _, c := range all {
		c.slot.Release()
		c.slot.Release()
	}
	if b.Open() != 0 {
		t.Errorf("%d are open when all have left", b.Open())
	}
}
