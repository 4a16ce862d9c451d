// Command soak runs mixed services under traffic that goes to zero and back, on the real
// stack with three agents, as `make soak` does, and judges whether anything grows: memory,
// goroutines, descriptors and connections of the agents and the queue-proxies.
//
// It promises to exit with 0 only if no request failed and everything was flat, to print
// what it has seen after Ctrl-C too, and to leave nothing behind. It refuses to judge a run
// that is too short to say.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type options struct {
	length time.Duration
	json   bool
	bin    string
	logs   string
}

// minLength has enough rests to judge.
const minLength = 6 * time.Minute

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, "Usage: go run ./test/soak [-for 1h] [-json]\n\n"+
			"Runs mixed services with traffic that goes to zero and back on a Nomad and Consul of its own, and\n"+
			"judges whether memory, goroutines, descriptors and connections of agents and queue-proxies are flat.\n"+
			"The exit code is 0 only if they are, and no request failed; 1 after Ctrl-C, with the table so far.\n\nFlags:\n")
		f.PrintDefaults()
	}
	f.DurationVar(&o.length, "for", time.Hour, "how long the traffic runs, at least "+minLength.String())
	f.BoolVar(&o.json, "json", false, "write the result as JSON to standard output in place of the table")
	f.StringVar(&o.bin, "bin", "", "`folder` of the binaries; default bin/ of the checkout")
	f.StringVar(&o.logs, "logs", "", "copy the agents' logs into this `folder` at the end")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.length < minLength:
		err = fmt.Errorf("-for %v is too short to judge: at least %v", o.length, minLength)
	}
	if err != nil {
		fmt.Fprintln(stderr, "soak:", err)
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
	r, err := soak(ctx, o, stderr)
	if r != nil {
		write := r.table
		if o.json {
			write = r.json
		}
		err = errors.Join(err, write(stdout))
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "soak:", err)
		return 1
	case !r.Passed:
		return 1
	}
	return 0
}
