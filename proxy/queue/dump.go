package queue

import "time"

// maxDumped bounds the requests in a dump.
const maxDumped = 1000

// dump is what the queue-proxy is doing, for the admin plane.
type dump struct {
	Service  string          `json:"service"`
	Revision string          `json:"revision"`
	Instance string          `json:"instance"`
	Ready    bool            `json:"ready"`
	Draining bool            `json:"draining"`
	InFlight int             `json:"in_flight"`
	Waiting  int             `json:"waiting"`
	Rest     *remaining      `json:"drain_waits_for,omitempty"` // While it drains.
	Requests []dumpedRequest `json:"requests"`                  // The oldest first, at most maxDumped.
}

func (p *Proxy) dump() dump {
	var left *remaining
	if p.drain.HasBegun() {
		r := p.remaining()
		left = &r
	}
	return dump{
		Service: p.cfg.Service, Revision: p.cfg.Revision, Instance: p.cfg.Instance,
		Ready: p.isReady(), Draining: p.drain.HasBegun(),
		InFlight: p.limiter.InFlight(), Waiting: p.limiter.Waiting(),
		Rest: left, Requests: p.inFlight.oldest(maxDumped),
	}
}

// dumpedRequest is a request in a dump. It has no path, which may hold secrets.
type dumpedRequest struct {
	Method     string  `json:"method"`
	AgeSeconds float64 `json:"age_seconds"`
	State      string  `json:"state"`            // queued, awaiting_app or forwarded.
	Tunnel     bool    `json:"tunnel,omitempty"` // The request was upgraded.
}

// oldest returns the oldest requests, at most max.
func (l *inFlight) oldest(max int) []dumpedRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]dumpedRequest, 0, min(max, l.all.Len()))
	for x := range l.all.All() {
		if len(out) == max {
			break
		}
		out = append(out, dumpedRequest{
			Method:     x.method,
			AgeSeconds: time.Since(x.began).Seconds(),
			State:      [...]string{"queued", "awaiting_app", "forwarded"}[x.state.Load()],
			Tunnel:     x.upgraded.Load(),
		})
	}
	return out
}
