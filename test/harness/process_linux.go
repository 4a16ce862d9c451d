package harness

import "syscall"

// childAttr keeps Ctrl-C in a terminal from the child, which is stopped in order, and
// has it die with a parent that is killed.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
