//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/faultproxy"
)

const answersWithNothing = "a right is missing, so that Nomad or Consul answer with nothing instead of an error"

// storeWrites are writes to Consul's store, those of transactions and of the lock included.
func storeWrites(req *http.Request) bool {
	return faultproxy.Writes(req) && faultproxy.Under("/v1/kv/", "/v1/txn")(req)
}

// reads are all reads but the event stream, which has no end.
func reads(req *http.Request) bool {
	return req.Method == http.MethodGet && !strings.HasPrefix(req.URL.Path, "/v1/event/stream")
}

// networkFaults are what agents get from Consul and Nomad, or from the proxies and load
// balancers before them.
func networkFaults() []Fault {
	const denied = "Permission denied: token with AccessorID '00000000-0000-0000-0000-000000000002' lacks permission 'key:write' on \"wadi/\""
	var all []Fault
	for _, v := range []struct {
		name, promise string
		consul, nomad *faultproxy.Fault
		during, after func(context.Context, *World, *Row) error
	}{
		{
			name: "Consul refuses all writes to its store (500)", promise: backendAway,
			consul: &faultproxy.Fault{Match: storeWrites, Status: http.StatusInternalServerError, Body: "rpc error making call: No cluster leader"},
			during: submissionRefused, after: nothingOfSubmission,
		},
		{
			name: "Consul refuses all writes to its store (403)", promise: backendAway,
			consul: &faultproxy.Fault{Match: storeWrites, Status: http.StatusForbidden, Body: denied},
			during: submissionRefused, after: nothingOfSubmission,
		},
		{
			name: "writes to Consul's store get no answer", promise: backendAway,
			consul: &faultproxy.Fault{Match: storeWrites, Hang: true},
		},
		{
			name: "Consul answers every read with nothing", promise: answersWithNothing,
			consul: &faultproxy.Fault{Match: reads, Empty: true},
		},
		{
			name: "Nomad answers every read with nothing", promise: answersWithNothing,
			nomad: &faultproxy.Fault{Match: reads, Empty: true},
		},
		{
			name: "both answer every read with nothing", promise: answersWithNothing,
			consul: &faultproxy.Fault{Match: reads, Empty: true}, nomad: &faultproxy.Fault{Match: reads, Empty: true},
		},
		{
			name: "answers of both are cut after 40 bytes", promise: backendAway,
			consul: &faultproxy.Fault{Match: reads, CutAfter: 40}, nomad: &faultproxy.Fault{Match: reads, CutAfter: 40},
		},
		{
			name: "both refuse every tenth request", promise: backendAway,
			consul: &faultproxy.Fault{Match: tenth(), Status: http.StatusInternalServerError, Body: "told to fail"},
			nomad:  &faultproxy.Fault{Match: tenth(), Status: http.StatusInternalServerError, Body: "told to fail"},
		},
	} {
		if v.during == nil {
			v.during = met
		}
		all = append(all, Fault{
			Name: v.name, Group: GroupNetwork, Promise: v.promise, For: 10 * time.Second,
			Prepare: withProxies, During: v.during, After: v.after,
			Break: func(_ context.Context, w *World) (func(context.Context) error, error) {
				return w.answerWith(v.consul, v.nomad), nil
			},
		})
	}
	return all
}

// tenth fits every tenth request that it is asked about.
func tenth() func(*http.Request) bool {
	var n atomic.Int64
	return func(*http.Request) bool { return n.Add(1)%10 == 0 }
}

// answerWith has the proxies of all agents fail.
func (w *World) answerWith(consul, nomad *faultproxy.Fault) (mend func(context.Context) error) {
	for _, p := range w.proxies {
		if consul != nil {
			p.consul.Set(*consul)
		}
		if nomad != nil {
			p.nomad.Set(*nomad)
		}
	}
	return func(context.Context) error {
		for _, p := range w.proxies {
			p.consul.Set()
			p.nomad.Set()
		}
		return nil
	}
}

// met is nil once a request has met the fault.
func met(_ context.Context, w *World, _ *Row) error {
	for _, p := range w.proxies {
		if p.consul.Met()+p.nomad.Met() > 0 {
			return nil
		}
	}
	return errors.New("no request has met the fault")
}

// submitted is a service that is submitted while that must be refused.
const submitted = "submitted"

// submissionRefused is nil if a submission is refused, with the reason.
func submissionRefused(ctx context.Context, w *World, row *Row) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := w.Agents[0].Submit(ctx, w.hcl(submitted, options{max: 1}))
	switch {
	case err == nil:
		return harness.Final(errors.New("a submission was accepted that can't be stored"))
	case ctx.Err() != nil:
		return harness.Final(fmt.Errorf("a submission had no answer within 30 s: %w", err))
	}
	add(&row.Saw.Answers, "wadi apply: "+err.Error())
	return nil
}

// nothingOfSubmission is nil if nothing is left of it.
func nothingOfSubmission(ctx context.Context, w *World, _ *Row) error {
	jobs, _, err := w.Nomad.Jobs().PrefixList(submitted)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if j.Status != "dead" {
			return fmt.Errorf("there is job %s, which is %s", j.ID, j.Status)
		}
	}
	keys, _, err := w.Consul.KV().Keys("wadi/", "", w.query(ctx))
	if err != nil {
		return err
	}
	for _, k := range keys {
		if strings.Contains(k, submitted) {
			return fmt.Errorf("there is key %s", k)
		}
	}
	return nil
}
