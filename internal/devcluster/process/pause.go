package process

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

// Pause stops the process with SIGSTOP: its connections stay open, and get no answer.
// It is no error if the process is not running.
func (p *Process) Pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// kill returns before the signal has arrived, and each thread stops by itself.
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
		time.Sleep(time.Millisecond) // The kernel offers nothing to wait for.
	}
	return nil
}

// Resume lets a paused process go on.
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
			continue // The thread has ended.
		}
		if err != nil {
			return false, err
		}
		// The state follows the name, which is in parentheses and may contain any character.
		_, state, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
		if !strings.HasPrefix(state, "T") {
			return false, nil
		}
	}
	return true, nil
}
