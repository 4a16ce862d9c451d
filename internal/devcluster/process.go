package devcluster

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

// Process is a child that can be started again with the same data and ports.
// It is in a process group of its own, so that Ctrl-C in a terminal reaches
// only the parent, which then stops it in order.
type Process struct {
	Name    string
	LogFile string // Its output, of all runs.

	argv   []string
	env    []string
	ready  func(context.Context) error // nil when it is; asked again and again.
	perRun func(run int) []string      // More arguments; may be nil.

	mu   sync.Mutex // Guards the following.
	runs int        // How often it was started.
	cmd  *exec.Cmd
	done chan struct{} // Closed when the run of cmd has ended.
	err  error         // How it ended; to be read after done.
}

const (
	readyWithin = 90 * time.Second
	stopWithin  = 15 * time.Second
)

// Start runs the process and returns when it is ready. It is an error if it
// runs already, exits, or is not ready in time; in the last case it still runs.
func (p *Process) Start(ctx context.Context) error { return p.start(ctx, p.ready) }

func (p *Process) start(ctx context.Context, ready func(context.Context) error) error {
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
	defer log.Close() // The child has its own.
	argv := p.argv
	p.runs++
	if p.perRun != nil {
		argv = slices.Concat(argv, p.perRun(p.runs))
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, log, log
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

// running is Running with the mutex held.
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

// Running reports whether the process is there, paused or not.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

// Done returns a channel that is closed when the present run has ended, and is
// nil before the first one.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// PID returns the process ID of the present or last run, or 0.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *Process) run() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs
}

func (p *Process) exit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// Kill ends the process with SIGKILL and waits until it is gone. A process
// that is not running is no error.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if done := p.Done(); done != nil {
		<-done
	}
	return nil
}

// Stop ends the process with SIGINT, and with SIGKILL after 15 s or when ctx
// ends. Nomad's tasks go on.
func (p *Process) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if err := p.Resume(); err != nil { // A paused process would not hear it.
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

// Tail returns the last n lines of the log.
func (p *Process) Tail(n int) string {
	b, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
