// Package harnesstest is shared by the test packages on a harness.Stack: it starts one
// stack for all tests of a package, deploys services and deletes them after the test, and
// sends requests and loads.
//
// It promises that services that a test deploys are deleted when the test ends, and that a
// failed test shows the agent's log and Nomad's events about its services. It refuses to
// decide what a service looks like: that is up to each package.
package harnesstest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// WaitLong is [harness.Long]. A test bounds a wait by less only where lateness is the fault that
// it looks for.
const WaitLong = harness.Long

// Stack is a stack whose methods fail the test that calls them.
type Stack struct{ *harness.Stack }

// Options of the tests of a package.
type Options struct {
	Parallel int  // Concurrent tests, as they mostly wait; 0: Go's default.
	Mesh     bool // Skip all tests without bridge networks.

	Stack harness.Options

	// Ready is called when the stack is up, before the first test; it may be nil.
	// The stack is stopped whatever it returns.
	Ready func(context.Context) error
}

// Main runs the tests of a package on one stack, which it stores in place, and exits. The
// flag -bin names the folder of the binaries.
func Main(m *testing.M, place **Stack, o Options) { os.Exit(Run(m, place, o)) }

// Run is Main without the exit. It returns the exit code.
func Run(m *testing.M, place **Stack, o Options) int {
	bin := flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")
	flag.Parse()
	if *bin != "" {
		o.Stack.Bin = *bin
	}
	code, err := run(context.Background(), m, place, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

func run(ctx context.Context, m *testing.M, place **Stack, o Options) (code int, err error) {
	if o.Parallel > 0 {
		if err := flag.Set("test.parallel", strconv.Itoa(o.Parallel)); err != nil {
			return 1, err
		}
	}
	s, err := harness.Start(ctx, o.Stack)
	if err != nil {
		return 1, fmt.Errorf("start stack: %w", err)
	}
	defer func() {
		stop, cancel := context.WithTimeout(ctx, 2*harness.Long)
		defer cancel()
		if e := s.Stop(stop); e != nil && err == nil {
			err = fmt.Errorf("stop stack: %w", e)
		}
	}()
	if o.Mesh && !s.Cluster.Bridge {
		fmt.Println("no mesh on this machine:", s.Cluster.WhyNot)
		return 0, nil
	}
	*place = &Stack{s}
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return 1, fmt.Errorf("prepare stack: %w", err)
		}
	}
	return m.Run(), nil
}

// Must fails the test on an error.
func Must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Eventually waits until try returns nil, and fails the test if it does not in time.
func Eventually(t testing.TB, within time.Duration, try func() error) {
	t.Helper()
	if err := harness.Eventually(t.Context(), within, try); err != nil {
		t.Fatal(err)
	}
}
