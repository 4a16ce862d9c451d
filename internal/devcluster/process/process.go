// Package process runs a program as a child process that can be stopped, paused, killed
// and started again.
//
// It promises that a child has a process group of its own, so that Ctrl-C in a terminal
// reaches the parent only, that Kill and Stop return when the child has ended, and that
// the output of all runs is in one file. It refuses to restart a child by itself.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a child process. Set its fields before the first Start. It is safe for
// concurrent use.
type Process struct {
	Name    string // For error texts.
	LogFile string // The output of all runs.

	Argv   []string
	Env    []string
	Ready  func(context.Context) error // Returns nil when the process is ready; polled.
	PerRun func(run int) []string      // More arguments of a run, counted from 1; may be nil.

	mu      sync.Mutex // Guards the following.
	started int        // Number of runs so far.
	cmd     *exec.Cmd
	done    chan struct{} // Closed when the run of cmd has ended.
	err     error         // Result of the run; valid after done.
}

const (
	readyWithin = 90 * time.Second
	stopWithin  = 15 * time.Second
)

// Start runs the process and returns when it is ready. It fails if the process runs
// already, exits, or is not ready within 90 s; in the last case it still runs.
func (p *Process) Start(ctx context.Context) error { return p.StartWhen(ctx, p.Ready) }

// StartWhen does what Start does, but asks ready instead of Ready.
func (p *Process) StartWhen(ctx context.Context, ready func(context.Context) error) error {
	if err := p.spawn(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	t := time.NewTicker(25 * time.Millisecond)
	defer t.Stop()
	done := p.Done()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("start %s: it exited: %w; the end of its log:\n%s", p.Name, p.exit(), p.Tail(25))
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w, and it is not ready: %w; the end of its log:\n%s", p.Name, ctx.Err(), err, p.Tail(25))
		case <-t.C:
		}
	}
}

func (p *Process) spawn() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return errors.New("it is running")
	}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // The child has a descriptor of its own.
	argv := p.Argv
	p.started++
	if p.PerRun != nil {
		argv = slices.Concat(argv, p.PerRun(p.started))
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.Env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	p.cmd, p.done, p.err = cmd, done, nil
	go func() { // Ends with the child; Stop and Kill wait for it.
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// running is Running for callers that hold mu.
func (p *Process) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Running reports whether the process runs, paused or not.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

// Done returns a channel that is closed when the present run has ended; nil before the
// first run.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// PID returns the process ID of the present or last run; 0 before the first.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Runs returns how often the process was started.
func (p *Process) Runs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started
}

func (p *Process) exit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// Kill ends the process with SIGKILL and waits until it has ended. It is no error if the
// process is not running.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if done := p.Done(); done != nil {
		<-done
	}
	return nil
}

// Stop ends the process with SIGINT, and with SIGKILL after 15 s or when ctx ends.
// Processes that it started itself go on, such as Nomad's tasks.
func (p *Process) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if err := p.Resume(); err != nil { // A paused process would not see the signal.
		return err
	}
	if err := p.signal(syscall.SIGINT); err != nil {
		return p.Kill()
	}
	done := p.Done()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return p.Kill()
	}
}

func (p *Process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", sig, p.Name, err)
	}
	return nil
}

// Tail returns the last n lines of the log, or why it can't be read.
func (p *Process) Tail(n int) string {
	b, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
