package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
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

// Wadi runs the command line in a process of its own, against this agent and in the folder
// dir. An exit code other than 0 is no error.
func (a *Agent) Wadi(ctx context.Context, dir string, args ...string) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := a.command(ctx, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(cleanEnv(), "WADI_ADDR=http://"+a.API)
	for name, token := range map[string]string{"NOMAD_TOKEN": a.Tokens.Nomad, "CONSUL_HTTP_TOKEN": a.Tokens.Consul} {
		if token != "" {
			cmd.Env = append(cmd.Env, name+"="+token)
		}
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("run wadi %s: %w", strings.Join(args, " "), err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}, nil
}
