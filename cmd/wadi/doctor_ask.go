package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

const (
	// askTimeout bounds a question of the doctor. An agent that is well answers within 30 s,
	// if only that it has no answer: it examines the cluster for one caller at a time.
	askTimeout = 40 * time.Second
	// askAgain is when a question is asked again that was one too many for the agent.
	askAgain = time.Second
)

// errSilent is an agent that takes connections and answers nothing.
var errSilent = errors.New("it hangs or is paused")

// asked asks an agent within askTimeout. The doctor asks for each service, which may be more
// than an agent lets a caller ask in a second.
func asked[T any](ctx context.Context, ask func(context.Context) (T, error)) (out T, err error) {
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for {
		out, err = ask(bounded)
		if api.StatusOf(err) != http.StatusTooManyRequests || wadi.Sleep(bounded, askAgain) != nil {
			break
		}
	}
	if errors.Is(err, context.DeadlineExceeded) && bounded.Err() != nil && ctx.Err() == nil { // Not a shorter bound, as of connecting.
		err = fmt.Errorf("it does not answer within %s, so %w", askTimeout, errSilent)
	}
	return out, err
}
