package server

import (
	"container/list"
	"hash/maphash"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wadi-run/wadi/api"
)

const (
	// maxCallers bounds the callers whose requests are counted. The one that has been quiet
	// for the longest is forgotten first, and begins anew.
	maxCallers = 8192
	// burstSeconds is how many seconds' requests may come at once.
	burstSeconds = 2
)

// callers bounds the requests of each caller by token buckets: one for its address, which
// counts whatever token it sends, and one for its token, whatever address it comes from.
type callers struct {
	seed maphash.Seed

	mu        sync.Mutex
	perSecond int
	buckets   map[uint64]*list.Element
	order     list.List // Of *bucket, the latest used first.
}

type bucket struct {
	key     uint64
	limiter *rate.Limiter
}

func newCallers() *callers {
	return &callers{seed: maphash.MakeSeed(), buckets: map[uint64]*list.Element{}}
}

// bound puts a bound in force. If it is another one, all callers begin anew.
func (c *callers) bound(perSecond int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if perSecond != c.perSecond {
		c.perSecond = perSecond
		clear(c.buckets)
		c.order.Init()
	}
}

// admit returns how long a caller has to wait before its request is answered; 0: it is
// answered now. A refused request takes nothing from the caller's token.
func (c *callers) admit(addr, token string, now time.Time) time.Duration {
	if wait := c.take("address "+addr, now); wait > 0 {
		return wait
	}
	if token == "" {
		return 0
	}
	return c.take("token "+token, now)
}

// take takes one request of a bucket.
func (c *callers) take(key string, now time.Time) time.Duration {
	r := c.bucketOf(maphash.String(c.seed, key)).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// bucketOf returns the bucket with a key, a new one if there is none.
func (c *callers) bucketOf(key uint64) *rate.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.buckets[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*bucket).limiter
	}
	if c.order.Len() >= maxCallers {
		last := c.order.Back()
		delete(c.buckets, c.order.Remove(last).(*bucket).key)
	}
	b := &bucket{key, rate.NewLimiter(rate.Limit(c.perSecond), burstSeconds*c.perSecond)}
	c.buckets[key] = c.order.PushFront(b)
	return b.limiter
}

// tooMany returns the refusal of a request whose caller has too many; nil: it has not.
// Health checks are never too many: they cost nothing, and a flood from behind the same
// proxy must not take the agent out of a load balancer. With a token they cost a request to
// Nomad, and load balancers have none.
func (s *Server) tooMany(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == pathHealth && nomadToken(r) == "" {
		return nil
	}
	wait := s.callers.admit(addressOf(r), nomadToken(r), time.Now())
	if wait == 0 {
		return nil
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return &api.Error{Status: http.StatusTooManyRequests, Message: "too many requests of this caller; http.requests_per_second of the agent bounds them"}
}
