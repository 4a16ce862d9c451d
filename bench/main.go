// Command bench measures Wadi on the real stack, as `make bench` runs it, and prints the
// figures side by side with what they are compared with.
//
// It promises that all figures of a table are from one run, interleaved where noise would
// favour one side. It refuses to judge: a missed target is printed but does not change the
// exit code, which is 1 only if a measurement failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// benchmark is one table.
type benchmark struct {
	name, about string
	alone       bool // It needs no stack, or has its own.
	long        bool // Only by name.
	run         func(context.Context, *bench) ([]section, error)
}

func benchmarks() []benchmark {
	return []benchmark{
		// First, while the agent has no free memory that would hide what it needs.
		{name: "held", about: "1,000 requests waiting for one cold service", run: waitingRequests},
		{name: "crowd", about: "the agent's memory with 10,000 connections to its gateway", run: manyConnections},
		{name: "cold", about: "cold start against its floor, host network and mesh", run: cold},
		{name: "docker", about: "cold start of containers against its floor and against Docker; needs dockerd", alone: true, run: coldDocker},
		{name: "savings", about: "what makes a start of containers sooner; needs dockerd, takes 10 min, only by name", alone: true, long: true, run: savings},
		{name: "idle", about: "CPU of an agent with 100 services at zero", run: idle},
		{name: "warm", about: "a warm request through Wadi against one to the app", run: warm},
		{name: "mesh", about: "what mTLS costs the agent, and when callers' Envoys go direct", run: meshed},
		{name: "through", about: "CPU of gateway and queue-proxy together, against one other proxy", run: through},
		{name: "chain", about: "the same in front of the cheapest app; needs no cluster", alone: true, run: chain},
		{name: "dataplane", about: "CPU of the queue-proxy against other proxies; needs no cluster", alone: true, run: small},
		{name: "latency", about: "how long small requests take, against other proxies; needs no cluster", alone: true, run: latency},
		{name: "bodies", about: "what a second of CPU moves, against other proxies; needs no cluster", alone: true, run: bodies},
		{name: "takeover", about: "how soon another agent leads, and a leader of 2,000 services decides", run: takeover},
		{name: "scaling", about: "the autoscaler: passes, memory, wakes, statistics; needs no cluster", alone: true, run: scaling},
		{name: "scale", about: "an agent with 10, 100 and 1,000 services at zero, 50 woken at once, config entries", alone: true, run: atScale(scaleShort)},
		{name: "scale5000", about: "the same with 5,000 services, 500 woken, 20,000 instances; takes long, only by name", alone: true, long: true, run: atScale(scaleWhole)},
		{name: "memory", about: "the queue-proxy's memory with 10,000 connections; needs no cluster", alone: true, run: crowds},
	}
}

// bench is shared by the benchmarks.
type bench struct {
	stack    *harness.Stack // Nil where no benchmark needs it.
	bin      string         // Folder of the binaries; empty: bin/ of the checkout.
	log      io.Writer      // Progress; the tables go elsewhere.
	profiles string         // Folder for the agent's profiles; empty: none are taken.
}

// binary is the path of a program.
func (b *bench) binary(name string) (string, error) {
	if b.bin != "" {
		return filepath.Join(b.bin, name), nil
	}
	root, err := harness.Root()
	return filepath.Join(root, "bin", name), err
}

func (b *bench) logf(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

func main() {
	if len(os.Args) == 4 && (os.Args[1] == reverseProxyCommand || os.Args[1] == pooledProxyCommand) {
		fmt.Fprintln(os.Stderr, reverseProxy(os.Args[2], os.Args[3], os.Args[1] == pooledProxyCommand))
		os.Exit(1)
	}
	if len(os.Args) == 4 && os.Args[1] == frontCommand {
		fmt.Fprintln(os.Stderr, front(context.Background(), os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == instancesCommand {
		if err := serveInstances(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == sourcesCommand {
		if err := serveSources(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type options struct {
	only     []string
	json     bool
	bin      string
	profiles string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	var names, usual []string
	f.Usage = func() {
		fmt.Fprint(stderr, "Usage: go run ./bench [-only cold,held] [-json]\n\nMeasures Wadi on a Nomad and Consul of its own. Benchmarks:\n")
		for _, b := range benchmarks() {
			fmt.Fprintf(stderr, "  %-9s %s\n", b.name, b.about)
		}
		fmt.Fprintln(stderr, "\nFlags:")
		f.PrintDefaults()
	}
	for _, b := range benchmarks() {
		if names = append(names, b.name); !b.long {
			usual = append(usual, b.name)
		}
	}
	only := f.String("only", strings.Join(usual, ","), "which `benchmarks` to run")
	f.BoolVar(&o.json, "json", false, "write JSON to standard output in place of tables")
	f.StringVar(&o.bin, "bin", "", "`folder` of wadi, queue-proxy and hello; default bin/ of the checkout")
	f.StringVar(&o.profiles, "profile", "", "write profiles of the agent into this `folder`; taking them costs some of what is measured")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.only = strings.Split(*only, ",")
	for _, name := range o.only {
		if !slices.Contains(names, name) {
			err = errors.Join(err, fmt.Errorf("no benchmark is called %q", name))
		}
	}
	if f.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
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
	r := report{Command: strings.Join(append([]string{"go run ./bench"}, args...), " "), Machine: machine(), Began: time.Now()}
	if !o.json {
		fmt.Fprintf(stdout, "%s\n%s\n", r.Command, r.Machine)
	}
	err = measure(ctx, o, stderr, func(s section) {
		r.Sections = append(r.Sections, s)
		if !o.json {
			s.write(stdout)
		}
	})
	if o.json {
		err = errors.Join(err, r.writeJSON(stdout))
	} else {
		fmt.Fprintf(stdout, "\n%.0f s in all\n", time.Since(r.Began).Seconds())
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// stopTimeout bounds how long stopping the stack may take, Ctrl-C or not.
const stopTimeout = 2 * time.Minute

// measure runs the benchmarks on one stack, and always stops it.
func measure(ctx context.Context, o options, log io.Writer, done func(section)) (err error) {
	b := &bench{log: log, profiles: o.profiles, bin: o.bin}
	if needsStack(o.only) {
		b.logf("starting Consul, Nomad and an agent")
		b.stack, err = harness.Start(ctx, harness.Options{Bin: o.bin, Extra: "log_level = \"info\"\n"})
		if err != nil {
			return err
		}
		defer func() {
			b.logf("stopping")
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			err = errors.Join(err, b.stack.Stop(stop))
		}()
	}
	for _, bm := range benchmarks() {
		if !slices.Contains(o.only, bm.name) {
			continue
		}
		b.logf("measuring: %s", bm.about)
		began := time.Now()
		sections, err := bm.run(ctx, b)
		for i, s := range sections {
			if s.Name = bm.name; i == 0 {
				s.Seconds = time.Since(began).Seconds()
			}
			done(s)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", bm.name, err)
		}
	}
	return nil
}

func needsStack(only []string) bool {
	return slices.ContainsFunc(benchmarks(), func(bm benchmark) bool {
		return !bm.alone && slices.Contains(only, bm.name)
	})
}

// machine describes the machine of the figures.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // Without it the line is shorter.
	load, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%s/%s %s, %d cores, load %s, %s", runtime.GOOS, runtime.GOARCH, strings.TrimSpace(string(kernel)), runtime.NumCPU(), one, runtime.Version())
}
