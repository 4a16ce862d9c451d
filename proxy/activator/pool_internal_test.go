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

func TestPick_OnlyWithRoom(t *testing.T) {
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
