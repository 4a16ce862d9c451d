package devcluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// pauseWithin bounds how long a process may take to stop at a signal.
const pauseWithin = 10 * time.Second

// Pause stops the process with SIGSTOP: its connections stay, and nobody answers.
// A process that is not running is no error.
func (p *Process) Pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// The signal is only on its way when kill returns, and each thread stops for itself.
	deadline := time.Now().Add(pauseWithin)
	for p.Running() {
		stopped, err := isStopped(p.PID())
		switch {
		case err != nil:
			return fmt.Errorf("pause %s: %w", p.Name, err)
		case stopped:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("pause %s: it still runs after %s", p.Name, pauseWithin)
		}
		time.Sleep(time.Millisecond) // There is nothing to wait for.
	}
	return nil
}

// Resume undoes Pause.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

// isStopped reports whether all threads of a process are stopped by a signal.
func isStopped(pid int) (bool, error) {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // That thread has ended.
		}
		if err != nil {
			return false, err
		}
		// The state follows the name, which is in parentheses and may hold any.
		_, state, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
		if !strings.HasPrefix(state, "T") {
			return false, nil
		}
	}
	return true, nil
}
