//go:build e2e

package mesh_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Callers of an app that answers only 500 get those answers, and never a 503 because an
// Envoy takes its instances for broken.
//
// It runs alone, and its calls begin when all instances run: a dozen starting Envoys leave
// so little CPU that callers' connections time out.
func TestAppErrors_CallersSeeThe500(t *testing.T) {
	counts := []int{1, 2, 12}
	for _, n := range counts {
		deploy(t, hello(downName(n), options{initial: n, min: n, max: n}))
	}
	for _, n := range counts {
		waitDirect(t, callerA, downName(n))
	}
	for _, n := range counts {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			name := downName(n)
			apps := func(res harness.Response) error {
				if res.Status != 500 || !strings.HasPrefix(res.Body, "hello from "+name) {
					return errors.New("want the app's own 500")
				}
				return nil
			}
			loads := []*harnesstest.Load{
				startLoad(t, callerA, name, "/?status=500", 50*time.Millisecond, apps),
				startLoad(t, callerB, name, "/?status=500", 50*time.Millisecond, apps),
			}
			time.Sleep(12 * time.Second) // Longer than Envoy's outlier detection interval of 10 s.
			for _, l := range loads {
				l.WantAll(t, 30)
			}
		})
	}
}

func downName(instances int) string { return fmt.Sprintf("down-%d", instances) }
