package activator

import (
	"strconv"
	"testing"

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
		if got := most(tt.limit, tt.k); got != tt.most {
			t.Errorf("most(%d, %d): got %d, want %d", tt.limit, tt.k, got, tt.most)
		}
	}
	for limit := 1; limit <= 50; limit++ {
		for k := 1; k <= 10*limit; k++ {
			s, m := share(limit, k), most(limit, k)
			if s < 1 || s*k < limit || s > m || m > limit || m*k > 11*limit && m > 1 {
				t.Fatalf("limit %d of %d activators: share %d, most %d", limit, k, s, m)
			}
		}
	}
}

// crowd is a revision with n ready instances.
func crowd(n, bound int) *revision {
	r := &revision{instances: map[string]*instance{}, bound: bound, a: &Activator{}}
	r.settings.Store(&wadi.RouteRevision{ConcurrencyLimit: bound})
	for k := range n {
		i := &instance{ready: true, slot: -1, ep: wadi.Endpoint{Instance: strconv.Itoa(k)}}
		r.instances[i.ep.Instance] = i
		r.settle(i)
	}
	return r
}

func TestPick_Balances(t *testing.T) {
	r := crowd(50, 0)
	for range 50 * 20 {
		r.pick().inFlight++
	}
	sum := 0
	for _, i := range r.instances {
		sum += (i.inFlight - 20) * (i.inFlight - 20)
	}
	if variance := sum / 50; variance > 8 { // By chance alone it is about 20; with two choices, two.
		t.Errorf("the requests at 50 instances have a variance of %d", variance)
	}
}

func TestPick_OnlyWithRoom(t *testing.T) {
	r := crowd(20, 2)
	for range 40 {
		i := r.pick()
		i.inFlight++
		r.settle(i)
	}
	got := map[int]int{}
	for _, i := range r.instances {
		got[i.inFlight]++
	}
	if want := map[int]int{2: 20}; !cmp.Equal(got, want) || r.pick() != nil {
		t.Fatalf("got %v, and then %v; want %v and none", got, r.pick(), want)
	}
	r.setBound(3)
	if len(r.open) != 20 {
		t.Errorf("%d have room for a third, want all", len(r.open))
	}
	i := r.pick()
	i.ready = false
	r.settle(i)
	for range 19 {
		o := r.pick()
		if o == i {
			t.Fatal("an instance that is not ready was picked")
		}
		o.inFlight++
		r.settle(o)
	}
	if r.pick() != nil {
		t.Error("one has room for a fourth")
	}
}

func BenchmarkPick(b *testing.B) {
	r := crowd(1000, 100)
	b.ReportAllocs()
	for b.Loop() {
		i := r.pick()
		i.inFlight++
		r.settle(i)
		i.inFlight--
		r.settle(i)
	}
}
