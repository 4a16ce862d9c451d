//go:build !linux

package devcluster

import (
	"context"
	"os"
	"syscall"
)

type baseline struct{}

func observe(context.Context) baseline { return baseline{} }

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func cleanShared(context.Context, baseline) error { return nil }

// clean makes Start fail before anything runs: the dev cluster needs Linux.
func (s *slot) clean(context.Context) error { return os.RemoveAll(s.dir) }
