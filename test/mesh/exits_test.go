//go:build e2e

package mesh_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// An app exits by itself twice, and each time its instance ends with it. Calls that no app
// has seen go to the next instance, from a caller's Envoy and from outside.
func TestAppExits(t *testing.T) {
	t.Parallel()
	// Its third instance stays: on a busy machine, an instance that lives for two seconds may
	// end before a call reaches it.
	exited := t.TempDir()
	must(t, "let the app leave its marks", os.Chmod(exited, 0o777))
	script := fmt.Sprintf("for n in 1 2; do mkdir %[1]s/$n && { timeout 2 hello; exit 0; }; done; exec hello", exited)
	// Callers must not get a reason before a busy machine has started the next instance.
	deploy(t, strings.Replace(hello("exits", options{min: 1, initial: 1, queue: `timeout = "280s"`}), `      config {
        command = "hello"
      }
`, `      config {
        command = "/bin/sh"
        args    = ["-c", `+strconv.Quote(script)+`]
      }
      restart {
        attempts = 0
        mode     = "fail"
      }
`, 1))
	// An Envoy retries at most three calls of a service at once.
	client := callerA.Client(t)
	inside := harnesstest.StartWorkers(t, 3, 50*time.Millisecond, func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, callerA.URL("exits", "/"), strings.NewReader("the body"))
		if err != nil {
			return "", err
		}
		res, err := harness.Do(client, req)
		if err != nil || res.Status != http.StatusOK || res.Body != "the body" {
			return "", fmt.Errorf("status %d %q %v: %w", res.Status, res.Body, res.Header, err)
		}
		return "echo", nil
	})
	outside := startOutside(t, "exits", "/", 40*time.Millisecond, from("exits-00001"))
	ended := func() (n int) {
		allocs, _, err := stack.Nomad.Jobs().Allocations("exits-00001", true, &nomad.QueryOptions{})
		must(t, "list allocations", err)
		for _, a := range allocs {
			if a.ClientStatus == "complete" || a.ClientStatus == "failed" {
				n++
			}
		}
		return n
	}
	eventually(t, waitLong, func() error {
		if n := ended(); n < 2 {
			return fmt.Errorf("%d instances have ended, want 2", n)
		}
		return nil
	})
	inside.WantAll(t, 50)
	outside.WantAll(t, 100)
}
