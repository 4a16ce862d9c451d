package jobspecs

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
)

// The blocks of a service, one function each, with the bounds of single settings. Rules
// about two settings are in check_settings.go.

func (r *reader) datacenters(s *wadi.Service) func(cty.Value) error {
	read := stringList(&s.Datacenters, 100, notEmpty)
	return func(v cty.Value) error {
		if err := read(v); err != nil {
			return err
		}
		if len(s.Datacenters) == 0 {
			return errors.New("at least one is required; [\"*\"] is all")
		}
		return nil
	}
}

func (r *reader) port(s *wadi.Service) func(cty.Value) error {
	var port int
	read := integer(&port, 1, 65535)
	return func(v cty.Value) error {
		if err := read(v); err != nil {
			return err
		}
		if use := reservedPort(port); use != "" {
			return fmt.Errorf("%d is reserved for %s; let the app listen on another port", port, use)
		}
		s.Port = port
		return nil
	}
}

// meta adds to the entries of the defaults.
func (r *reader) meta(s *wadi.Service) func(cty.Value) error {
	var given map[string]string
	read := stringMap(&given, 64, 1024)
	return func(v cty.Value) error {
		if err := read(v); err != nil {
			return err
		}
		if s.Meta == nil {
			s.Meta = map[string]string{}
		}
		maps.Copy(s.Meta, given)
		return nil
	}
}

func (r *reader) probe(b *hcl.Block, path string, dst *wadi.Probe) {
	p := wadi.Probe{Timeout: dst.Timeout}
	var grpc string
	r.body(b.Body, path, []setting{
		{"http", text(&p.HTTP, checkPath)},
		{"tcp", flag(&p.TCP)},
		{"grpc", func(v cty.Value) error {
			err := text(&grpc, checkPlain)(v)
			if err == nil {
				p.GRPC = &grpc
			}
			return err
		}},
		{"timeout", duration(&p.Timeout, 10*time.Millisecond, time.Minute)},
	}, nil)
	kinds := 0
	for _, set := range []bool{p.HTTP != "", p.TCP, p.GRPC != nil} {
		if set {
			kinds++
		}
	}
	switch kinds {
	case 0: // The defaults' kind of probe stays.
		dst.Timeout = p.Timeout
	case 1:
		*dst = p
	default:
		r.addf(b.DefRange, path, "only one of http, tcp and grpc may be set")
	}
}

func (r *reader) timeout(b *hcl.Block, path string, t *wadi.Timeouts) {
	most := r.limits.MaxRequestTimeout
	r.body(b.Body, path, []setting{
		{"request", r.limited(duration(&t.Request, 10*time.Millisecond, most), limitTimeout)},
		{"response_start", r.limited(duration(&t.ResponseStart, 0, most), limitTimeout)},
		{"idle", r.limited(duration(&t.Idle, 0, most), limitTimeout)},
		{"progress", duration(&t.Progress, time.Second, 24*time.Hour)},
	}, nil)
}

// limitTimeout is the agent's setting that bounds the times of a request.
const limitTimeout = "limits.max_request_timeout"

func (r *reader) queue(b *hcl.Block, path string, q *wadi.Queue) {
	r.body(b.Body, path, []setting{
		{"depth", integer(&q.Depth, 1, 100_000)},
		{"timeout", duration(&q.Timeout, 10*time.Millisecond, time.Hour)},
		{"quiet", stringList(&q.Quiet, 64, checkQuiet)},
	}, nil)
}

// Bounds of a rollout.
const (
	maxRollout      = 7 * 24 * time.Hour
	maxRolloutSteps = 99 // Of 1 % each, after the first of 1 %.
	maxRolloutHold  = 24 * time.Hour
	minP99, maxP99  = time.Millisecond, 5 * time.Minute // Between which latencies are counted well enough.
	maxErrorCodes   = 32
)

// rollout adds to the settings of the defaults.
func (r *reader) rollout(b *hcl.Block, path string, s *wadi.Service) {
	var o wadi.Rollout
	if s.Rollout != nil {
		o = *s.Rollout
	}
	r.body(b.Body, path, []setting{
		{"duration", wholeSeconds(duration(&o.Duration, 0, maxRollout), &o.Duration)},
		{"steps", integer(&o.Steps, 0, maxRolloutSteps)},
		{"hold", wholeSeconds(duration(&o.Hold, 0, maxRolloutHold), &o.Hold)},
		{"max_error_percent", hundredths(&o.MaxErrorPercent)},
		{"max_p99", duration(&o.MaxP99, 0, maxP99)},
		{"error_codes", stringList(&o.ErrorCodes, maxErrorCodes, wadi.CheckErrorCode)},
	}, nil)
	s.Rollout = &o
}

// limited adds to a range error which of the agent's limits is the upper bound.
func (r *reader) limited(read func(cty.Value) error, limit string) func(cty.Value) error {
	return func(v cty.Value) error {
		err := read(v)
		if _, ok := errors.AsType[rangeError](err); ok {
			return fmt.Errorf("%w (the upper bound is the agent's %s)", err, limit)
		}
		return err
	}
}
