package scheduler

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/wadi-run/wadi"
)

// planRules are the service's rules as targets and revisions are now. They change all at
// once, and stay as they were while one leads to a revision without a job, or to a tag that
// no target has yet: a request that meets it would otherwise meet the next.
func planRules(d Desired, o Observed, targets []wadi.RouteTarget, state map[string]wadi.RevisionState) []wadi.RouteRule {
	rules, waits := rulesOf(d.Service, targets, state)
	if waits != "" {
		return o.Route.Rules
	}
	return rules
}

// rulesOf resolves the tags that rules lead to. waits says why the rules can't hold yet;
// empty: they can. A caller of a revision that is not ready waits for it, or gets the reason
// why it failed, as one of a tag does.
func rulesOf(svc wadi.Service, targets []wadi.RouteTarget, state map[string]wadi.RevisionState) (rules []wadi.RouteRule, waits string) {
	for _, rule := range svc.Routes {
		if rule.Tag != "" {
			i := slices.IndexFunc(targets, func(t wadi.RouteTarget) bool { return t.Tag == rule.Tag })
			if i < 0 {
				return nil, fmt.Sprintf("no target of the traffic has the tag %q of route %q yet", rule.Tag, rule.Name)
			}
			rule.Revision = targets[i].Revision
		}
		if rule.Revision != "" && state[rule.Revision].Phase == wadi.Retired {
			return nil, fmt.Sprintf("the job of %s, to which route %q leads, is not back in Nomad yet", rule.Revision, rule.Name)
		}
		rules = append(rules, rule)
	}
	return rules, ""
}

// ruled reports whether a rule leads to the revision by its ID.
func ruled(rules []wadi.RouteRule, revision string) bool {
	return slices.ContainsFunc(rules, func(r wadi.RouteRule) bool { return r.Revision == revision })
}

// rulesPending says why the rules are not as they were submitted; empty: they are.
func rulesPending(d Desired, o Observed) string {
	rules, waits := rulesOf(d.Service, o.Route.Targets, d.State.Revisions)
	switch {
	case len(o.Route.Targets) == 0, waits == "" && reflect.DeepEqual(rules, o.Route.Rules):
		return ""
	case waits != "":
		return "the routes stay as they were: " + waits
	}
	return ""
}
