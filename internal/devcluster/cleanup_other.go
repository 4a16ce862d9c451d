//go:build !linux

package devcluster

import (
	"context"
	"os"
)

type baseline struct{}

func observe(context.Context) baseline { return baseline{} }

func cleanShared(context.Context, baseline) error { return nil }

// clean makes Start fail before anything runs: the dev cluster needs Linux.
func (s *slot) clean(context.Context) error { return os.RemoveAll(s.dir) }
