package queue

import "time"

// maxDumped is how many requests a dump tells of.
const maxDumped = 1000

// dump is what the queue-proxy does at the moment.
type dump struct {
	Service  string          `json:"service"`
	Revision string          `json:"revision"`
	Instance string          `json:"instance"`
	Ready    bool            `json:"ready"`
	Draining bool            `json:"draining"`
	InFlight int             `json:"in_flight"`
	Waiting  int             `json:"waiting"`
	Rest     *rest           `json:"drain_waits_for,omitempty"` // Of a drain.
	Requests []dumpedRequest `json:"requests"`                  // The oldest first, and not all of very many.
}

func (p *Proxy) dump() dump {
	var left *rest
	if p.drain.HasBegun() {
		r := p.rest()
		left = &r
	}
	return dump{
		Service: p.cfg.Service, Revision: p.cfg.Revision, Instance: p.cfg.Instance,
		Ready: p.isReady(), Draining: p.drain.HasBegun(),
		InFlight: p.limiter.InFlight(), Waiting: p.limiter.Waiting(),
		Rest: left, Requests: p.live.oldest(maxDumped),
	}
}

// dumpedRequest is a live request as the admin plane tells it. Paths may hold
// what is nobody's business, so only methods are told.
type dumpedRequest struct {
	Method     string  `json:"method"`
	AgeSeconds float64 `json:"age_seconds"`
	State      string  `json:"state"`            // queued, held or forwarded.
	Tunnel     bool    `json:"tunnel,omitempty"` // It was upgraded.
}

// oldest tells of the oldest requests, at most max.
func (l *live) oldest(max int) []dumpedRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := make([]dumpedRequest, 0, min(max, l.all.Len()))
	for x := range l.all.All() {
		if len(told) == max {
			break
		}
		told = append(told, dumpedRequest{
			Method:     x.method,
			AgeSeconds: time.Since(x.begun).Seconds(),
			State:      [...]string{"queued", "held", "forwarded"}[x.state.Load()],
			Tunnel:     x.upgraded.Load(),
		})
	}
	return told
}
