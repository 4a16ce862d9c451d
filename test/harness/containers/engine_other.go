//go:build !linux

package containers

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }

func unmount(string) error { return nil }
