package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/stats"
)

// standIn answers for an instance that has no processes, as its queue-proxy would.
func standIn(clock *stats.Clock, instance, revision string) http.Handler {
	rec := clock.NewRecorder(instance, "boot", revision, time.Hour)
	statistics := stats.Handler(rec, func(h http.Header) { h.Set("Wadi-Ready", "true") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/stats" {
			statistics.ServeHTTP(w, r)
			return
		}
		w.Header().Set(wadi.HeaderRevision, revision)
		w.Header().Set(wadi.HeaderInstance, instance)
		w.Header().Set("Content-Length", "0") // 200: ready, and every request's answer.
	})
}

// standIns serve for the allocations of a real Nomad whose tasks its mock driver plays.
type standIns struct {
	clock *stats.Clock
	mu    sync.Mutex
	alive map[string]*http.Server // By allocation.
	at    map[string]time.Time    // By job: since when an instance serves.
}

// follow serves for every allocation that runs, until ctx ends.
func (s *standIns) follow(ctx context.Context, client *nomad.Client) error {
	topics := map[nomad.Topic][]string{nomad.TopicAllocation: {"*"}}
	events, err := client.EventStream().Stream(ctx, topics, 0, (&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	defer s.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case batch, ok := <-events:
			if !ok || batch.Err != nil {
				return errors.Join(ctx.Err(), batch.Err)
			}
			for _, e := range batch.Events {
				if a, err := e.Allocation(); err == nil && a != nil {
					if err := s.take(a); err != nil {
						return err
					}
				}
			}
		}
	}
}

func (s *standIns) take(a *nomad.Allocation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	srv := s.alive[a.ID]
	ended := a.DesiredStatus != "run" || a.ClientStatus != "pending" && a.ClientStatus != "running"
	switch {
	case ended && srv != nil:
		delete(s.alive, a.ID)
		return srv.Close()
	case ended || srv != nil || a.ClientStatus != "running":
		return nil
	}
	srv = &http.Server{Handler: standIn(s.clock, a.ID, a.JobID), ReadHeaderTimeout: time.Minute}
	for _, p := range a.AllocatedResources.Shared.Ports {
		l, err := net.Listen("tcp", net.JoinHostPort(p.HostIP, strconv.Itoa(p.Value)))
		if err != nil {
			return errors.Join(err, srv.Close())
		}
		go func() { _ = srv.Serve(l) }() // It ends with take or close.
	}
	s.alive[a.ID] = srv
	if _, known := s.at[a.JobID]; !known {
		s.at[a.JobID] = time.Now()
	}
	return nil
}

func (s *standIns) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, srv := range s.alive {
		_ = srv.Close() // It has nothing to lose.
	}
}

// since is when the first instance of a job served; zero: none has.
func (s *standIns) since(job string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[job]
}

// forget forgets when instances served.
func (s *standIns) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.at)
}

// instancesCommand makes this program serve the statistics of the instances of a memoryNomad
// with so many instances of each service.
const instancesCommand = "instances"

// serveInstances serves on all addresses; the address that was dialled, as the Host header has
// it, names the instance. It prints its port, and ends when standard input ends.
func serveInstances(each string) error {
	perService, err := strconv.Atoi(each)
	if err != nil {
		return fmt.Errorf("read the number of instances: %w", err)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return err
	}
	fmt.Println(port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	clock := stats.NewClock()
	var handlers sync.Map // By host.
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, known := handlers.Load(r.Host)
		if !known {
			host, _, _ := strings.Cut(r.Host, ":")
			ip := net.ParseIP(host).To4()
			if ip == nil {
				http.NotFound(w, r)
				return
			}
			n := int(ip[1]-1)<<16 | int(ip[2])<<8 | int(ip[3])
			id, _ := scaleInstance(n)
			h, _ = handlers.LoadOrStore(r.Host, standIn(clock, id, wadi.RevisionID(scaleName(n/perService), 1)))
		}
		h.(http.Handler).ServeHTTP(w, r)
	})}
	if err := srv.Serve(l); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// startInstances runs this program again to serve instances, until stop.
func startInstances(ctx context.Context, each int) (port int, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, nil, fmt.Errorf("find this program: %w", err)
	}
	child := exec.CommandContext(ctx, self, instancesCommand, strconv.Itoa(each))
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		return 0, nil, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := child.Start(); err != nil {
		return 0, nil, fmt.Errorf("start the instances: %w", err)
	}
	stop = func() error { return errors.Join(stdin.Close(), child.Wait()) }
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		port, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		return 0, nil, errors.Join(fmt.Errorf("read the instances' port: %w", err), stop())
	}
	return port, stop, nil
}
