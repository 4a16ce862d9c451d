package harness

import "syscall"

// childAttr keeps Ctrl-C in a terminal from the child, which is stopped in order.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
