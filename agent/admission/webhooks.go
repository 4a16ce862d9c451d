package admission

import (
	"context"
	"errors"
	"fmt"

	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/jobspecs"
)

// reviews asks the webhooks about the services of one submission.
type reviews struct {
	*Admission
	user   string
	dryRun bool
	failed map[string]bool // Webhooks without a usable answer; they are not asked again.
}

// newReviews returns nil if there are no webhooks.
func (a *Admission) newReviews(ctx context.Context, r Request) *reviews {
	if len(a.Webhooks) == 0 {
		return nil
	}
	return &reviews{Admission: a, user: a.Nomad.TokenName(ctx, r.NomadToken), dryRun: r.dryRun, failed: map[string]bool{}}
}

// mutate asks the mutating webhooks in order. What each makes of a service is checked like
// what a user submits.
func (v *reviews) mutate(ctx context.Context, all []*candidate) error {
	return v.ask(ctx, all, true, func(c *candidate, w *webhook.Webhook, a webhook.Answer, refused *refusals) {
		if !a.Changed {
			return
		}
		changed, problems := c.draft.Change(c.service, jobspecs.Document{Service: a.Service, Instance: a.Instance}, v.Limits)
		for _, p := range problems {
			p.Message = fmt.Sprintf("admission webhook %q made it wrong: %s", w.Name, p.Message)
			refused.details = append(refused.details, p)
		}
		if len(problems) > 0 {
			return
		}
		c.service = changed
		if v.dryRun { // Who only asks wants to know why the service is not as in the file.
			c.warnings = append(c.warnings, fmt.Sprintf("admission webhook %q changes it", w.Name))
		}
	})
}

// judge asks the validating webhooks in order.
func (v *reviews) judge(ctx context.Context, all []*candidate) error {
	return v.ask(ctx, all, false, func(*candidate, *webhook.Webhook, webhook.Answer, *refusals) {})
}

// ask asks the webhooks of one kind about each service, in order, until one refuses it, and
// gives the permitting answers to use.
func (v *reviews) ask(ctx context.Context, all []*candidate, mutating bool, use func(*candidate, *webhook.Webhook, webhook.Answer, *refusals)) error {
	if v == nil {
		return nil
	}
	var refused refusals
	for _, c := range all {
		before := len(refused.details)
		for _, w := range v.Webhooks {
			if w.Mutate != mutating || v.failed[w.Name] || len(refused.details) > before {
				continue
			}
			a, err := v.askOne(ctx, c, w)
			if err != nil {
				return err
			}
			if v.failed[w.Name] {
				continue
			}
			switch {
			case !a.Allowed && a.Message == "":
				refused.invalid(c, "", "admission webhook %q refuses it, and says no reason", w.Name)
			case !a.Allowed:
				refused.invalid(c, "", "admission webhook %q refuses it: %s", w.Name, a.Message)
			case a.Message != "":
				c.warnings = append(c.warnings, fmt.Sprintf("admission webhook %q: %s", w.Name, a.Message))
			}
			if a.Allowed {
				use(c, w, a, &refused)
			}
		}
	}
	return refused.err()
}

// askOne asks one webhook about one service. A webhook that gives no usable answer, and is
// not required, is noted in failed.
func (v *reviews) askOne(ctx context.Context, c *candidate, w *webhook.Webhook) (webhook.Answer, error) {
	doc, err := jobspecs.DocumentOf(c.service)
	if err != nil {
		return webhook.Answer{}, err
	}
	a, err := w.Ask(ctx, webhook.Question{Service: doc.Service, Instance: doc.Instance, Images: c.resolved, User: v.user, DryRun: v.dryRun})
	if err == nil {
		return a, nil
	}
	var failure *webhook.Failure
	if !errors.As(err, &failure) {
		return a, fmt.Errorf("ask admission webhook %q about %s: %w", w.Name, c.service.Name, err)
	}
	v.Log.Warn("admission webhook gives no usable answer", "webhook", w.Name, "service", c.service.Name,
		"required", w.Require, "reason", failure.Reason, "error", failure.Err)
	if w.Require {
		return a, failure
	}
	v.failed[w.Name] = true
	return a, nil
}

// checkRules refuses what breaks the agent's own rules.
func (a *Admission) checkRules(all []*candidate) error {
	var refused refusals
	for _, c := range all {
		for _, p := range a.Rules.Check(c.service, c.resolved) {
			refused.invalid(c, p.Path, "%s", p.Message)
		}
	}
	return refused.err()
}
