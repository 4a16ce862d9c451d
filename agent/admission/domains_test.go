package admission_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestSubmit_DomainsBelowTheGateways(t *testing.T) {
	for domain, text := range map[string]string{
		"hello.wadi.localhost":        "",
		"wadi.localhost":              "", // The domain itself is nobody's name.
		"hello.wadi.localhost.com":    "",
		"xwadi.localhost":             "",
		"other.wadi.localhost":        `kept for a service named "other"`,
		"canary-hello.wadi.localhost": `kept for a service named "canary-hello"`,
		"x.hello.wadi.localhost":      "the gateway's own",
	} {
		t.Run(domain, func(t *testing.T) {
			b := newBench(t)
			r := request(spec("hello", "/a", fmt.Sprintf("domains = [%q]", domain)))
			if text == "" {
				b.submit(t, r)
				return
			}
			_ = b.refused(t, r, 422, text, domain, "a.hcl:4,")
			b.untouched(t)
		})
	}
}

func TestSubmit_TooManyDomains(t *testing.T) {
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("%q", fmt.Sprintf("d%d.example.com", i)))
		}
		return "domains = [" + strings.Join(list, ", ") + "]"
	}
	b := newBench(t)
	_ = b.refused(t, request(spec("hello", "/a", many(33))), 422, "a.hcl:4,", "33 domains, at most 32")
	b.submit(t, request(spec("hello", "/a", many(32))))
}

// Another submission gets the domain while this one registers its jobs: the refusal names
// the holder at the user's line, and no job stays.
func TestSubmit_DomainTakenMeanwhile(t *testing.T) {
	b := newBench(t)
	other := newBench(t)
	other.Store, other.Nomad = b.store, b.nomad
	raced := false
	b.store.OnSubmit = func() error {
		if !raced {
			raced = true
			other.submit(t, request(spec("faster", "/a", `domains = ["x.example.com"]`)))
		}
		return nil
	}
	_ = b.refused(t, request(spec("hello", "/a", `domains = ["x.example.com"]`)), 409,
		"a.hcl:4,", `the domain "x.example.com" belongs to the service "faster"`)
	if got := strings.Join(b.nomad.Jobs(), " "); got != "default/faster-00001" {
		t.Errorf("jobs are %s", got)
	}
}
