package agent

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/drain"
)

// drainTimeout bounds how long requests in flight may take once no new ones come.
const drainTimeout = 30 * time.Second

// drainReport is how often a drain that takes long is logged.
const drainReport = 5 * time.Second

// planesName is the entry of the stop stack above which a drain stops everything.
const planesName = "planes"

// drainPolicy gives callers time to hear of a drain: load balancers ask /ready, or Consul,
// every second or few. In development there are none.
func drainPolicy(dev bool) drain.Policy {
	if dev {
		return drain.Policy{Min: 100 * time.Millisecond, Quiet: 100 * time.Millisecond, Max: time.Second}
	}
	return drain.Policy{Min: 2 * time.Second, Quiet: time.Second, Max: 10 * time.Second}
}

// drainer ends an agent's service without losing a request.
type drainer struct {
	*drain.Drain
	policy    drain.Policy
	activator *activator.Activator
	endCopies func() // Of requests: nobody waits for their answers.
	log       hclog.Logger
	done      chan struct{} // Closed when the drain is over.
}

func newDrainer(dev bool, act *activator.Activator, log hclog.Logger) *drainer {
	return &drainer{Drain: drain.New(), policy: drainPolicy(dev), activator: act, log: log, done: make(chan struct{})}
}

// pushStops pushes how the stages are stopped, so that callers lose nothing. It pushes in
// reverse; they are stopped in this order:
//
//	presence   deregister, and end the term: no caller is sent here any more
//	callers    serve on until the callers that have not heard of it stop coming
//	front      close the listeners; requests in flight are finished
//	requests   end connections of other protocols than HTTP
//	planes     end the API and the metrics listener, which reported the drain until now
//	core       everything else
//
// A drain stops the first four. The process goes on then, until it is stopped: what asked
// for the drain sees that it is over.
func (d *drainer) pushStops(ctx context.Context, to *stack, s *stages) {
	settled := make(chan struct{})
	go func() { // It waits for the drain to begin. A front that has failed has no callers.
		defer close(settled)
		d.Run(s.front.ctx, d.policy)
	}()
	var quiet time.Time // When callers had stopped coming.
	reporting, over := context.WithCancel(ctx)
	var reports sync.WaitGroup
	to.push("core", s.core.stop)
	to.push(planesName, s.planes.stop)
	to.push("requests", func() {
		d.finishRequests(ctx, quiet)
		over()
		reports.Wait()
	})
	to.push("front", func() {
		quiet = time.Now()
		d.activator.GoAway()
		d.endCopies()
		s.front.stop() // Within drainTimeout: see gateway.ServerConfig.ShutdownTimeout.
	})
	to.push("callers", func() { <-settled })
	to.push("presence", func() {
		began := time.Now()
		d.log.Info("draining: serving until callers send no more requests", "requests", d.activator.Active())
		reports.Go(func() { d.logProgress(reporting) })
		s.presence.stop()
		d.log.Info("deregistered, and leads no more", "took", time.Since(began))
	})
}

// logProgress logs what a drain waits for now and then, until ctx ends.
func (d *drainer) logProgress(ctx context.Context) {
	for began := time.Now(); wadi.Sleep(ctx, drainReport) == nil; {
		d.log.Info("draining", "requests", d.activator.Active(), "took", time.Since(began).Round(time.Second))
	}
}

// finishRequests waits for the requests in flight, until drainTimeout after callers had
// stopped coming.
func (d *drainer) finishRequests(ctx context.Context, quiet time.Time) {
	ctx, cancel := context.WithDeadline(ctx, quiet.Add(drainTimeout))
	defer cancel()
	if err := d.activator.Drain(ctx); err != nil {
		d.log.Warn("requests were not finished in time", "error", err)
		return
	}
	d.log.Info("drained", "took", time.Since(quiet))
}

// wait waits until the drain is over.
func (d *drainer) wait(ctx context.Context) error {
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handler is next for a traffic listener. During a drain every answer sends its
// caller to another agent; HTTP/2 makes a GoAway of that.
func (d *drainer) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.HasBegun() {
			d.Saw()
			if r.Header.Get("Upgrade") == "" {
				w.Header().Set("Connection", "close")
			}
		}
		next.ServeHTTP(w, r)
	})
}
