//go:build !linux

package slot

import (
	"context"
	"os"
)

type baseline struct{}

func observe(context.Context) baseline { return baseline{} }

func cleanShared(context.Context, baseline) error { return nil }

// clean removes the directory; nothing else was made, as the dev cluster needs Linux.
func (s *Slot) clean(context.Context) error { return os.RemoveAll(s.Dir) }
