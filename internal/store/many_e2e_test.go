//go:build e2e

package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

// BenchmarkLoad reads what a new leader reads of 2,000 services, from a real Consul.
func BenchmarkLoad(b *testing.B) {
	const services, workers = 2000, 8
	s := open(b, consultest.StartAgent(b, false).URL)
	w := leader(b, s)
	var names []string
	var fill errgroup.Group
	fill.SetLimit(workers)
	job := json.RawMessage(fmt.Sprintf(`{"ID":"x","Filler":%q}`, strings.Repeat("job ", 1500)))
	for i := range services {
		name := fmt.Sprintf("s%04d", i)
		names = append(names, name)
		fill.Go(func() error {
			sp := spec(name, 2000)
			sp.Service.Domains = nil
			sp.Generation, sp.Latest = 1, wadi.RevisionID(name, 1)
			r := revision(name, 1)
			r.Job = job
			if _, err := s.Submit(b.Context(), []wadi.Submission{{Spec: sp, NewRevision: r}}); err != nil {
				return err
			}
			if err := w.PutRoute(b.Context(), route(name, 1)); err != nil {
				return err
			}
			return w.PutStatus(b.Context(), wadi.Status{Service: name, Phase: "ready"})
		})
	}
	if err := fill.Wait(); err != nil {
		b.Fatal(err)
	}
	for _, atOnce := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d in a transaction", atOnce), func(b *testing.B) {
			before := cpu(b)
			defer func() {
				b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N*services), "own-CPU-µs/service")
			}()
			for b.Loop() {
				var g errgroup.Group
				g.SetLimit(workers)
				for some := range slices.Chunk(names, atOnce) {
					g.Go(func() error {
						var failed error
						w.LoadSome(b.Context(), some, func(_ string, _ wadi.Stored, err error) { failed = errors.Join(failed, err) })
						return failed
					})
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// cpu is the time that this process has used: on a busy machine it says more than the time
// that passed.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
