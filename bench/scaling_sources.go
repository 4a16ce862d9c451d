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
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/proxy/stats"
)

const (
	// sourcesCommand makes this program serve the statistics of many instances.
	sourcesCommand = "statistics"

	sourceCount     = 1000
	sourceRevisions = 100
	sourcesWarm     = 3 * time.Second
	sourcesMeasured = 15 * time.Second
)

// serveSources serves statistics of so many instances on one address; the Host header
// selects the instance. Busy instances always have a request in flight. It prints its
// address, and ends when standard input ends.
func serveSources(count, busy string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("read the number of sources: %w", err)
	}
	handlers := map[string]http.Handler{}
	for i := range n {
		clock := stats.NewClock()
		rec := clock.NewRecorder(sourceName(i), "boot", sourceRevision(i), time.Hour)
		handlers[sourceName(i)+":80"] = stats.Handler(rec, func(h http.Header) { h.Set("Wadi-Ready", "true") })
		if busy == "busy" {
			rec.Begin(false)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := handlers[r.Host]; h != nil && r.URL.Path == "/v1/stats" {
			h.ServeHTTP(w, r)
		} // Else 200: ready.
	})}
	if err := srv.Serve(l); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func sourceName(i int) string     { return fmt.Sprintf("instance-%d", i) }
func sourceRevision(i int) string { return wadi.RevisionID(fmt.Sprintf("s%d", i%sourceRevisions), 1) }

// sourcesCost measures the leader's CPU for following many instances, including the
// averages every 2 s.
func sourcesCost(ctx context.Context, b *bench) (section, error) {
	out := section{
		Title:   fmt.Sprintf("%d instances of %d revisions, whose statistics the leader follows over HTTP for %v", sourceCount, sourceRevisions, sourcesMeasured),
		Columns: []string{"% of a core", "answers/s"},
	}
	for _, kind := range []struct {
		label, busy string
		most        float64
	}{{"idle", "idle", 1}, {"busy", "busy", 20}} {
		share, rate, err := followSources(ctx, b, kind.busy)
		if err != nil {
			return out, err
		}
		out.add(kind.label, share, rate)
		out.judge(fmt.Sprintf("%% of a core for %d %s instances", sourceCount, kind.label), share, kind.most)
	}
	return out, nil
}

// followSources follows the statistics of a process's instances, and returns the share
// of a core in percent and the answers per second.
func followSources(ctx context.Context, b *bench, busy string) (share, rate float64, err error) {
	addr, stopSources, err := startSources(ctx, busy)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, stopSources()) }()
	reg := prometheus.NewRegistry()
	s, revs := followingScraper(reg, addr)

	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = s.Run(ctx) }) // It returns nil.
	running.Go(func() { average(ctx, s, revs) })
	if err := wadi.Sleep(ctx, sourcesWarm); err != nil {
		return 0, 0, err
	}
	stop, err := b.profileSelf("scaling-sources-" + busy + ".pprof")
	if err != nil {
		return 0, 0, err
	}
	used := ownCPU()
	before, err := answers(reg)
	err = errors.Join(err, wadi.Sleep(ctx, sourcesMeasured))
	used = ownCPU() - used
	after, err2 := answers(reg)
	return 100 * used.Seconds() / sourcesMeasured.Seconds(), (after - before) / sourcesMeasured.Seconds(), errors.Join(err, err2, stop())
}

// startSources runs this program again to serve statistics, until stop.
func startSources(ctx context.Context, busy string) (addr string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("find this program: %w", err)
	}
	child := exec.CommandContext(ctx, self, sourcesCommand, strconv.Itoa(sourceCount), busy)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := child.Start(); err != nil {
		return "", nil, fmt.Errorf("start the sources: %w", err)
	}
	stop = func() error { return errors.Join(stdin.Close(), child.Wait()) }
	addr, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("read the sources' address: %w", err), stop())
	}
	return strings.TrimSpace(addr), stop, nil
}

// followingScraper is a scraper of all sources; they share one address.
func followingScraper(reg prometheus.Registerer, addr string) (*scrape.Scraper, []scrape.Revision) {
	s := scrape.New(hclog.NewNullLogger(), reg)
	s.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
	var revs []scrape.Revision
	for i := range sourceRevisions {
		revs = append(revs, scrape.Revision{ID: sourceRevision(i), Created: time.Now().Add(-time.Hour), Window: scalingWindow})
	}
	var srcs []scrape.Source
	for i := range sourceCount {
		srcs = append(srcs, scrape.Source{ID: sourceName(i), Kind: wadi.SourceInstance, Addr: sourceName(i) + ":80", Revision: sourceRevision(i), Placed: time.Now()})
	}
	s.Set(revs, srcs)
	return s, revs
}

// average takes the averages of all revisions as an autoscaler does.
func average(ctx context.Context, s *scrape.Scraper, revs []scrape.Revision) {
	for wadi.Sleep(ctx, 2*time.Second) == nil {
		for _, r := range revs {
			s.Read(r.ID, func(got scrape.Reading) {
				got.Windows.Averages(got.Now, scalingWindow, scalingWindow/10, wadi.Concurrency)
			})
		}
	}
}

// answers is how many statistics the scraper registered in reg has read.
func answers(reg prometheus.Gatherer) (float64, error) {
	families, err := reg.Gather()
	if err != nil {
		return 0, fmt.Errorf("read the scraper's metrics: %w", err)
	}
	for _, f := range families {
		if f.GetName() == "wadi_scrape_answers_total" {
			return f.GetMetric()[0].GetCounter().GetValue(), nil
		}
	}
	return 0, errors.New("the scraper has no metric wadi_scrape_answers_total")
}

// profileTo takes a CPU profile of this process until the returned function is called.
func profileTo(file string) (stop func() error, err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("make a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
