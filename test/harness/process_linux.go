package harness

import "syscall"

// childAttr keeps a terminal's Ctrl-C from the child, which Stop ends, and kills the child
// with its parent.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
