package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	nomad "github.com/hashicorp/nomad/api"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/proxy/stats"
	"github.com/wadi-run/wadi/test/harness"
)

// relay stands between the agent and Nomad or Consul, and counts what passes.
type relay struct {
	url      string
	requests atomic.Int64
	conns    atomic.Int64
	scaled   sync.Map // Job → chan time.Time: when the agent asked to scale it.

	listener net.Listener
	server   *http.Server
}

// newRelay forwards to a URL, or serves a handler if there is one.
func newRelay(to string, own http.Handler) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	r := &relay{url: "http://" + l.Addr().String(), listener: l}
	if own == nil {
		target, err := url.Parse(to)
		if err != nil {
			return nil, err
		}
		own = &httputil.ReverseProxy{
			Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(target) },
			FlushInterval: -1, // Event streams.
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
			ErrorLog:      log.New(io.Discard, "", 0), // An agent that ends breaks its blocking queries.
			ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		}
	}
	r.server = &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.requests.Add(1)
			if job, ok := strings.CutSuffix(strings.TrimPrefix(req.URL.Path, "/v1/job/"), "/scale"); ok && req.Method != http.MethodGet {
				if c, ok := r.scaled.Load(job); ok {
					select {
					case c.(chan time.Time) <- time.Now():
					default:
					}
				}
			}
			own.ServeHTTP(w, req)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				r.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				r.conns.Add(-1)
			}
		},
	}
	go func() { _ = r.server.Serve(l) }() // It ends with close.
	return r, nil
}

func (r *relay) close() error { return r.server.Close() }

// watchScale returns a channel that gets the time of the next scale call for a job.
func (r *relay) watchScale(job string) <-chan time.Time {
	c := make(chan time.Time, 1)
	r.scaled.Store(job, c)
	return c
}

// scaleStage is one agent in front of many services.
type scaleStage struct {
	b      *bench
	stack  *harness.Stack
	agent  *harness.Agent
	toward struct{ nomad, consul *relay } // What the agent talks to.

	store     *store.Store
	template  map[string]string // What is stored of a service, of which all others are copies: value by key.
	job       json.RawMessage   // Its job.
	services  int               // How many there are.
	instances int               // Of a Nomad in memory.
	whole     float64           // Seconds of the last reconciling of all services.
	mocks     *standIns
	end       func() error // Of the mocks; nil: they were not begun.
	register  func(ctx context.Context, job json.RawMessage) (index uint64, err error)
}

// scaleTemplate is the name of the service that the others are copies of: nothing else in a
// submission contains it.
const scaleTemplate = "xtemplatex"

// scaleName is the name of the i-th service.
func scaleName(i int) string { return fmt.Sprintf("s%05d", i) }

// newScaleStage starts Nomad, Consul and an agent, submits one service through its API, and
// keeps what it stored, to be copied. Then it ends the agent.
func newScaleStage(ctx context.Context, b *bench) (_ *scaleStage, err error) {
	s := &scaleStage{b: b}
	s.stack, err = harness.Start(ctx, harness.Options{
		Bin: b.bin, Extra: "log_level = \"info\"\n", NomadClientHCL: "  memory_total_mb = 200000\n  cpu_total_compute = 2000000\n",
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if err := s.stack.Agent.Apply(ctx, service{name: scaleTemplate, scale: "initial = 0\n    window = \"60s\"", more: "timeout {\n    request = \"30m\"\n  }\n  queue {\n    timeout = \"30m\"\n  }"}.hcl()); err != nil {
		return nil, err
	}
	kv, err := consul.New(consul.Config{Address: s.stack.Cluster.ConsulAddr})
	if err != nil {
		return nil, err
	}
	s.store = store.New(kv, "wadi", "bench", hclog.NewNullLogger())
	if err := s.keepTemplate(ctx); err != nil {
		return nil, err
	}
	s.register = func(ctx context.Context, job json.RawMessage) (index uint64, err error) {
		var out struct{ JobModifyIndex uint64 }
		_, err = s.stack.Nomad.Raw().Write("/v1/jobs", map[string]any{"Job": job}, &out, (&nomad.WriteOptions{}).WithContext(ctx))
		return out.JobModifyIndex, err
	}
	if err := s.stack.Agent.Delete(ctx, scaleTemplate); err != nil {
		return nil, err
	}
	if err := s.stack.Agent.Stop(ctx); err != nil {
		return nil, err
	}
	if s.toward.consul, err = newRelay(s.stack.Cluster.ConsulAddr, nil); err != nil {
		return nil, err
	}
	s.mocks = &standIns{clock: stats.NewClock(), alive: map[string]*http.Server{}, at: map[string]time.Time{}}
	following, cancel := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() { followed <- s.mocks.follow(following, s.stack.Nomad) }()
	s.end = func() error {
		cancel()
		return <-followed
	}
	return s, nil
}

// begin makes an agent that is to talk to Consul, and to the Nomad at a relay, through relays.
func (s *scaleStage) begin(toNomad *relay) (err error) {
	s.toward.nomad = toNomad
	s.agent, err = s.stack.NewAgent("wadi-1", fmt.Sprintf("log_level = \"info\"\nnomad {\n  address = %q\n}\nconsul {\n  address = %q\n}\n", toNomad.url, s.toward.consul.url))
	if err != nil {
		return err
	}
	return nil
}

func (s *scaleStage) close(ctx context.Context) error {
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	var err error
	if s.end != nil {
		err = s.end()
	}
	err = errors.Join(err, s.stack.Stop(stop))
	for _, r := range []*relay{s.toward.nomad, s.toward.consul} {
		if r != nil {
			err = errors.Join(err, r.close())
		}
	}
	return err
}

// keepTemplate keeps what is stored of the template, with a job that the mock driver plays.
func (s *scaleStage) keepTemplate(ctx context.Context) error {
	rev, err := s.store.Revision(ctx, scaleTemplate, wadi.RevisionID(scaleTemplate, 1))
	if err != nil {
		return err
	}
	mock, err := mocked(rev.Job)
	if err != nil {
		return err
	}
	s.job, s.template = mock, map[string]string{}
	pairs, _, err := s.stack.Consul.KV().List("wadi/", (&consulapi.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("read what is stored: %w", err)
	}
	for _, p := range pairs {
		if !strings.Contains(p.Key, "/"+scaleTemplate) {
			continue
		}
		value, err := uncompressed(p.Value)
		if err != nil {
			return fmt.Errorf("read %s: %w", p.Key, err)
		}
		if strings.HasPrefix(p.Key, "wadi/revision/") {
			value = bytes.Replace(value, rev.Job, mock, 1)
		}
		s.template[p.Key] = string(value)
	}
	return nil
}

// uncompressed is a stored value as JSON: large ones are compressed.
func uncompressed(value []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return value, nil // It is not.
	}
	return io.ReadAll(z)
}

const seedAtOnce = 8

// jobIndex is where a stored status says at which index the job is as it was submitted.
var jobIndex = regexp.MustCompile(`"job_index":[0-9]+`)

// grow adds services at zero until there are n, while there is no agent: their jobs in Nomad, and
// all that is stored of a service that a leader has set up.
func (s *scaleStage) grow(ctx context.Context, n int) error {
	if s.agent != nil {
		if err := s.agent.Stop(ctx); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(seedAtOnce)
	for ; s.services < n; s.services++ {
		name := scaleName(s.services)
		g.Go(func() error {
			index, err := s.register(ctx, s.jobOf(name))
			if err != nil {
				return err
			}
			var ops consulapi.TxnOps
			for key, value := range s.template {
				value = jobIndex.ReplaceAllString(value, fmt.Sprintf(`"job_index":%d`, index))
				ops = append(ops, &consulapi.TxnOp{KV: &consulapi.KVTxnOp{
					Verb: consulapi.KVSet, Key: strings.ReplaceAll(key, scaleTemplate, name), Value: []byte(strings.ReplaceAll(value, scaleTemplate, name)),
				}})
			}
			ok, res, _, err := s.stack.Consul.Txn().Txn(ops, (&consulapi.QueryOptions{}).WithContext(ctx))
			if err == nil && !ok {
				err = fmt.Errorf("store %s: %+v", name, res.Errors)
			}
			return err
		})
	}
	return g.Wait()
}

// jobOf is the job of a service like the template.
func (s *scaleStage) jobOf(name string) json.RawMessage {
	return bytes.ReplaceAll(s.job, []byte(scaleTemplate), []byte(name))
}

// mocked is a revision's job whose tasks Nomad's mock driver plays: they are placed and run
// like any, and no process is behind them.
func mocked(job json.RawMessage) (json.RawMessage, error) {
	var j map[string]any
	if err := json.Unmarshal(job, &j); err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	groups, _ := j["TaskGroups"].([]any)
	for _, g := range groups {
		group, _ := g.(map[string]any)
		delete(group, "Services")
		group["EphemeralDisk"] = map[string]any{"SizeMB": 10}
		tasks, _ := group["Tasks"].([]any)
		for _, t := range tasks {
			task, _ := t.(map[string]any)
			for _, key := range []string{"Artifacts", "Templates", "Services", "ShutdownDelay", "Lifecycle", "Leader"} {
				delete(task, key)
			}
			task["Driver"], task["Config"] = "mock_driver", map[string]any{"run_for": "24h"}
			task["LogConfig"] = map[string]any{"Disabled": true, "MaxFiles": 1, "MaxFileSizeMB": 1}
			task["Resources"] = map[string]any{"CPU": 1, "MemoryMB": 10}
			task["KillTimeout"] = int64(100 * time.Millisecond)
		}
	}
	return json.Marshal(j)
}
