package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Main starts an engine, runs a folder's tests with it, stops it and ends the process. Where
// no engine can be had it says that all tests of what are skipped.
func Main(what string, run func(ctx context.Context, engine *Engine) (code int, err error)) {
	ctx := context.Background()
	code, err := withEngine(ctx, run)
	if errors.Is(err, ErrNoEngine) {
		fmt.Printf("SKIPPED: all tests of %s: %v\n", what, err)
		err = nil
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withEngine(ctx context.Context, run func(context.Context, *Engine) (int, error)) (code int, err error) {
	engine, err := StartEngine(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, engine.Stop(ctx)) }()
	return run(ctx, engine)
}
