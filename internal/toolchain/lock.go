package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock prevents two processes from making the same part at once. The kernel releases it
// when the process ends.
func (b *Builder) lock(ctx context.Context, p pin, cache string) (unlock func(), err error) {
	name := p.dir(cache) + ".lock"
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", p.name, err)
	}
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for reported := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		if !reported {
			b.printf("%s %s: another process makes it, waiting …\n", p.name, p.version)
			reported = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, ctx.Err()), f.Close())
		case <-t.C:
		}
	}
}
