package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Result is the result of a command.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// String shows all of it.
func (r Result) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.Code, r.Stdout, r.Stderr)
}

// Follow runs a command that shows something until ctx ends, as by Ctrl-C. Both its outputs go to
// out. It is an error if it does not end well, and soon, then.
func (a *Agent) Follow(ctx context.Context, out io.Writer, args ...string) error {
	cmd := a.command(ctx, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, a.commandEnv()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 0 {
		return nil
	}
	return err
}

// Wadi runs the command line in a process of its own, against this agent and in the folder
// dir. An exit code other than 0 is no error.
func (a *Agent) Wadi(ctx context.Context, dir string, args ...string) (Result, error) {
	return a.WadiWith(ctx, dir, nil, args...)
}

// WadiWith is Wadi with more in its environment.
func (a *Agent) WadiWith(ctx context.Context, dir string, env []string, args ...string) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := a.command(ctx, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(a.commandEnv(), env...)
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("run wadi %s: %w", strings.Join(args, " "), err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}, nil
}

// commandEnv is the environment of its commands.
func (a *Agent) commandEnv() []string {
	env := append(cleanEnv(), "WADI_ADDR=http://"+a.API)
	for name, token := range map[string]string{"NOMAD_TOKEN": a.Tokens.Nomad, "CONSUL_HTTP_TOKEN": a.Tokens.Consul} {
		if token != "" {
			env = append(env, name+"="+token)
		}
	}
	return env
}
