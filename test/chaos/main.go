//go:build e2e

// Command chaos breaks things at random, one or two at once, and checks after each that
// what Wadi promises held: the faults and invariants are those of package matrix. `make chaos`
// runs it.
//
// It promises that a seed always gives the same sequence of faults, that it exits with 0 only
// if every invariant held after every fault and nothing was left at the end, and that
// Ctrl-C stops everything that it has started. After a failure it prints the seed and the
// faults that led there, and looks for fewer that fail too, within a bounded time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/test/matrix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type options struct {
	length, shrink time.Duration
	seed           uint64
	show           int
	bin            string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, "Usage: go run -tags e2e ./test/chaos [-for 1h] [-seed N]\n\n"+
			"Breaks things at random on a Nomad and Consul of its own, and checks what Wadi promises after each.\n"+
			"The exit code is 0 only if all of it held.\n\nFlags:\n")
		f.PrintDefaults()
	}
	f.DurationVar(&o.length, "for", time.Hour, "how long things are broken; the last one may end later")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that decides which faults come in which order; 0: any")
	f.DurationVar(&o.shrink, "shrink", 0, "how long to look for fewer faults that fail, after a failure; default a third of -for")
	f.IntVar(&o.show, "show", 0, "only print the first `N` steps of the seed")
	f.StringVar(&o.bin, "bin", "", "`folder` of the binaries; default bin/ of the checkout")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
		fmt.Fprintln(stderr, "chaos:", err)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1e9) + 1
	}
	if o.shrink == 0 {
		o.shrink = o.length / 3
	}
	return o, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	fmt.Fprintf(stdout, "chaos: seed %d, for %v\n", o.seed, o.length)
	c := &chaos{options: o, out: stdout, faults: map[string]matrix.Fault{}}
	if o.show > 0 {
		c.printSteps(o.show)
		return 0
	}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(stderr, "chaos:", err)
		return 1
	}
	return 0
}
