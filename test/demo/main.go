// Command demo shows all of Wadi on the real stack without user input, as `make demo` runs
// it: from an empty cluster through cold and warm requests, load, zero, the mesh, a second
// revision, gated rollouts and a canary to an empty cluster.
//
// It promises to exit with 0 only if every step succeeded, and that nothing is left
// behind, even after Ctrl-C. It refuses to continue after a failed step.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type options struct {
	verbose bool
	host    bool
	bin     string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, "Usage: go run ./test/demo [-v] [-host]\n\nRuns Wadi's whole story on a Nomad and Consul of its own and prints a timeline.\nThe exit code is 0 only if every step held.\n\nFlags:\n")
		f.PrintDefaults()
	}
	f.BoolVar(&o.verbose, "v", false, "show the agent's log on standard error")
	f.BoolVar(&o.host, "host", false, "host network and no mesh, as on a machine where bridge networks don't work")
	f.StringVar(&o.bin, "bin", "", "`folder` of wadi, queue-proxy and hello; default bin/ of the checkout")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
		fmt.Fprintln(stderr, "demo:", err)
	}
	return o, err
}

// Bounds of the whole demo: it takes less than two minutes if the tools are in place.
const (
	demoTimeout = 5 * time.Minute
	stopTimeout = 2 * time.Minute
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	limit, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	d := &demo{timeline: timeline{out: stdout, began: time.Now()}}
	err = d.play(limit, o, stderr)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "demo: interrupted; all that it started is stopped")
	case err != nil:
		fmt.Fprintln(stderr, "demo:", err)
	default:
		d.done()
		return 0
	}
	return 1
}

// demo is one run of the story.
type demo struct {
	timeline
	stack *harness.Stack
	mesh  bool
	noWhy string // Why there is no mesh.

	instance string // The instance of hello's last answer.
}

// play runs the story, and always stops what it started.
func (d *demo) play(ctx context.Context, o options, stderr io.Writer) (err error) {
	if err := d.start(ctx, o); err != nil {
		return err
	}
	var log sync.WaitGroup
	logging, quiet := context.WithCancel(context.WithoutCancel(ctx))
	if o.verbose {
		log.Go(func() { tail(logging, d.stack.Agent.LogFile, stderr) })
	}
	err = d.story(ctx)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(stderr, "demo: the agent's last words:\n%s\n", d.stack.Agent.Tail(25))
	}
	quiet()
	log.Wait()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, d.stop(stop))
}

// tail copies what is appended to a file until ctx ends.
func tail(ctx context.Context, file string, out io.Writer) {
	f, err := os.Open(file)
	if err != nil {
		fmt.Fprintln(out, "demo:", err)
		return
	}
	defer f.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.Copy(out, f); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
