//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// The largest allowed submission, with more domains than fit into one Consul transaction,
// is stored.
func TestInput_ManyDomains(t *testing.T) {
	t.Parallel()
	var hcl strings.Builder
	for i := range 16 {
		var domains []string
		for d := range 6 {
			domains = append(domains, fmt.Sprintf("d%d.s%d.many.test", d, i))
		}
		hcl.WriteString(hello(fmt.Sprintf("many%d", i), options{scale: "initial = 0", service: fmt.Sprintf("domains = %s", quoted(domains))}))
	}
	if got := stack.Submit(t, hcl.String()); len(got) != 16 {
		t.Fatalf("%d services were stored, want 16", len(got))
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // Its route comes through Consul.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+stack.Agent.Gateway+"/", nil)
		if err != nil {
			return err
		}
		req.Host = "d5.s15.many.test"
		res, err := harness.Do(stack.Client(t), req)
		if err == nil && (res.Status != http.StatusOK || !strings.Contains(res.Body, "many15-00001")) {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		return err
	})
	ran := wadiIn(t, map[string]string{"late.hcl": hello("late", options{service: `domains = ["d0.s0.many.test"]`})}, "apply", "-detach", "late.hcl")
	wantRefused(t, ran, "d0.s0.many.test", "many0")
}

// quoted are strings as HCL literals.
func quoted(all []string) string {
	return `["` + strings.Join(all, `", "`) + `"]`
}
