package agent

import (
	"context"
	"errors"
	"testing"
)

// A part that fails ends its group, whose error names it; parts that end without an error
// leave it running.
func TestGroup(t *testing.T) {
	g, calm := newGroup(t.Context()), newGroup(t.Context())
	broken := errors.New("broken")
	calm.run("one", func(context.Context) error { return nil })
	g.run("waits", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	g.run("fails", func(context.Context) error { return broken })
	<-g.failed
	g.stop()
	if err := firstError(calm, g); !errors.Is(err, broken) || err.Error() != "fails: broken" {
		t.Errorf("got %v", err)
	}
	if calm.ctx.Err() != nil {
		t.Error("a part that ended has ended the group")
	}
	calm.stop()
	if err := firstError(calm); err != nil {
		t.Errorf("a group that was stopped: %v", err)
	}
}
