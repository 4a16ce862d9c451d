package activator

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

func TestShare(t *testing.T) {
	for _, tt := range []struct{ limit, k, share, most int }{
		{0, 5, 0, 0},
		{10, 1, 10, 10},
		{10, 2, 5, 10},
		{10, 3, 4, 10},
		{10, 100, 1, 1},
		{100, 100, 1, 5},
		{1, 3, 1, 1},
	} {
		if got := share(tt.limit, tt.k); got != tt.share {
			t.Errorf("share(%d, %d): got %d, want %d", tt.limit, tt.k, got, tt.share)
		}
		if got := maxShare(tt.limit, tt.k); got != tt.most {
			t.Errorf("maxShare(%d, %d): got %d, want %d", tt.limit, tt.k, got, tt.most)
		}
	}
	for limit := 1; limit <= 50; limit++ {
		for k := 1; k <= 10*limit; k++ {
			s, m := share(limit, k), maxShare(limit, k)
			if s < 1 || s*k < limit || s > m || m > limit || m*k > 11*limit && m > 1 {
				t.Fatalf("limit %d of %d activators: share %d, most %d", limit, k, s, m)
			}
		}
	}
}

// newPool is a pool with n ready instances.
func newPool(n, limit int) *pool {
	p := &pool{instances: map[string]*instance{}, limit: limit}
	for k := range n {
		i := &instance{index: -1, ep: wadi.Endpoint{Instance: strconv.Itoa(k)}}
		p.instances[i.ep.Instance] = i
		p.admit(i, time.Now())
	}
	return p
}

// Instances are removed at once, and closed when their last request has ended.
func TestPool_Sync(t *testing.T) {
	now := time.Unix(1000, 0)
	p := &pool{instances: map[string]*instance{}}
	create := func(ep wadi.Endpoint) *instance { return &instance{ep: ep, index: -1} }
	one, two := wadi.Endpoint{Instance: "1", Addr: "a:1"}, wadi.Endpoint{Instance: "2", Addr: "a:2"}
	added, unused := p.sync([]wadi.Endpoint{one, two, {Instance: "3"}, {Instance: "4", Addr: "a:4", Ended: true}}, create)
	if added != 2 || len(unused) != 0 || p.placed != 3 {
		t.Fatalf("%d added, %d to close, %d placed; want 2, 0, 3", added, len(unused), p.placed)
	}
	first, second := p.instances["1"], p.instances["2"]
	p.admit(first, now)
	p.admit(second, now)
	p.take(first)
	one.Stopping = true
	if _, unused = p.sync([]wadi.Endpoint{one, two}, create); len(unused) != 0 || p.placed != 1 || p.ready != 1 || p.pick() != second {
		t.Errorf("%d to close, %d placed, %d ready after one is to stop", len(unused), p.placed, p.ready)
	}
	two.Addr = "a:3" // It has moved.
	added, unused = p.sync([]wadi.Endpoint{two}, create)
	if added != 1 || len(unused) != 1 || unused[0] != second || p.ready != 0 || len(p.instances) != 1 {
		t.Errorf("%d added, %d to close, %d ready after one has ended and one has moved", added, len(unused), p.ready)
	}
	if !p.free(first) {
		t.Error("the last request at an ended instance does not close it")
	}
}

func TestPick_Balances(t *testing.T) {
	p := newPool(50, 0)
	for range 50 * 20 {
		p.pick().inFlight++
	}
	sum := 0
	for _, i := range p.instances {
		sum += (i.inFlight - 20) * (i.inFlight - 20)
	}
	if variance := sum / 50; variance > 8 { // By chance alone it is about 20; with two choices, two.
		t.Errorf("the requests at 50 instances have a variance of %d", variance)
	}
}

func TestPick_OnlyWithASlot(t *testing.T) {
	p := newPool(20, 2)
	for range 40 {
		i := p.pick()
		i.inFlight++
		p.updateAvailable(i)
	}
	got := map[int]int{}
	for _, i := range p.instances {
		got[i.inFlight]++
	}
	if want := map[int]int{2: 20}; !cmp.Equal(got, want) || p.pick() != nil {
		t.Fatalf("got %v, and then %v; want %v and none", got, p.pick(), want)
	}
	p.setLimit(3)
	if len(p.available) != 20 {
		t.Errorf("%d have room for a third, want all", len(p.available))
	}
	i := p.pick()
	i.ready = false
	p.updateAvailable(i)
	for range 19 {
		o := p.pick()
		if o == i {
			t.Fatal("an instance that is not ready was picked")
		}
		o.inFlight++
		p.updateAvailable(o)
	}
	if p.pick() != nil {
		t.Error("one has room for a fourth")
	}
}

func BenchmarkPick(b *testing.B) {
	p := newPool(1000, 100)
	b.ReportAllocs()
	for b.Loop() {
		i := p.pick()
		i.inFlight++
		p.updateAvailable(i)
		i.inFlight--
		p.updateAvailable(i)
	}
}
