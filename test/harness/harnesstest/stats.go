package harnesstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// BegunAt waits until at least so many requests have begun in the instance whose metrics
// listener is at an address. It returns how many have begun, and how many of them came
// through an activator.
func BegunAt(t *testing.T, metrics string, atLeast float64) (begun, proxied float64) {
	t.Helper()
	Eventually(t, WaitLong, func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+metrics+"/v1/stats?since=0", nil)
		if err != nil {
			return err
		}
		res, err := harness.Do(http.DefaultClient, req)
		if err != nil {
			return err
		}
		var st wadi.Stats
		if err := json.Unmarshal([]byte(res.Body), &st); err != nil {
			return err
		}
		begun, proxied = 0, 0
		for _, s := range st.Samples {
			begun, proxied = begun+s.Begun, proxied+s.BegunProxied
		}
		if begun < atLeast {
			return fmt.Errorf("%g requests have begun, %g are to", begun, atLeast)
		}
		return nil
	})
	return begun, proxied
}
