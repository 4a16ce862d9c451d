package consul

import (
	"context"
	"time"

	"github.com/wadi-run/wadi"
)

// refusedPause is the pause before a refused question is asked again.
const refusedPause = 400 * time.Millisecond

// retryRefused calls ask, and once more after a pause if Consul refused: a Consul that has
// just started does not know all tokens and policies yet, so one refusal proves nothing.
// The answer that ask keeps is the last one.
func retryRefused(ctx context.Context, ask func() (refused bool)) {
	if ask() {
		_ = wadi.Sleep(ctx, refusedPause)
		ask()
	}
}
