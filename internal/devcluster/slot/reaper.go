package slot

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// reaper is a shell that outlives a parent which is killed, and then kills
// every process that carries the slot's mark: Consul, Nomad, its helpers and raw_exec
// tasks. (A parent-death signal would reach Nomad only, whose tasks go on
// without it.) The next cluster removes their files and networks.
type reaper struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// reaperScript waits for a line, which dismisses it, or for the end of the pipe, which
// is the parent's end. Its $0 is the mark.
const reaperScript = `
read -r line && exit 0
round=0
while [ $round -lt 100 ]; do
  round=$((round + 1))
  found=
  for f in $(grep -lF -- "$0" /proc/[0-9]*/environ 2>/dev/null); do
    p=${f#/proc/}
    kill -9 "${p%/environ}" 2>/dev/null
    found=1
  done
  [ "$found" ] || exit 0
  sleep 0.1
done
`

// StartReaper makes a process that kills everything with the slot's mark when this
// process is killed. Release ends it.
func (s *Slot) StartReaper() error {
	r, err := startReaper(s.Mark())
	s.reaper = r
	return err
}

func startReaper(mark string) (*reaper, error) {
	cmd := exec.Command("/bin/sh", "-c", reaperScript, mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not reach it.
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start reaper: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start reaper: %w", err)
	}
	return &reaper{cmd, pipe}, nil
}

// dismiss ends the reaper without killing anything.
func (r *reaper) dismiss() error {
	_, err := io.WriteString(r.pipe, "\n")
	if err = errors.Join(err, r.pipe.Close(), r.cmd.Wait()); err != nil {
		return fmt.Errorf("dismiss reaper: %w", err)
	}
	return nil
}
