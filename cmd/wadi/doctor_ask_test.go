package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// An agent that answers nothing is told, and one that has too many requests is asked again.
func TestAsked(t *testing.T) {
	tooMany := &api.Error{Status: 429, Message: "too many"}
	for name, tt := range map[string]struct {
		ask  func(ctx context.Context, n int) (int, error)
		want int
		err  error
		took time.Duration
	}{
		"at once":  {func(_ context.Context, n int) (int, error) { return n, nil }, 1, nil, 0},
		"an error": {func(context.Context, int) (int, error) { return 0, wadi.ErrNotFound }, 0, wadi.ErrNotFound, 0},
		"too many": {func(_ context.Context, n int) (int, error) {
			if n < 4 {
				return 0, tooMany
			}
			return n, nil
		}, 4, nil, 3 * askAgain},
		"always too many": {func(context.Context, int) (int, error) { return 0, tooMany }, 0, tooMany, askTimeout},
		"unreachable":     {func(context.Context, int) (int, error) { return 0, fmt.Errorf("connect: %w", context.DeadlineExceeded) }, 0, context.DeadlineExceeded, 0},
		"silent":          {func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, 0, errSilent, askTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, n := time.Now(), 0
				got, err := asked(t.Context(), func(ctx context.Context) (int, error) { n++; return tt.ask(ctx, n) })
				if got != tt.want || !errors.Is(err, tt.err) || time.Since(began) != tt.took {
					t.Errorf("got %d, %v after %s", got, err, time.Since(began))
				}
			})
		})
	}
}
