package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func rolloutStatusCommand() command {
	var watch bool
	cmd := remoteCommand(command{
		usage: "wadi rollout status [options] NAME", synopsis: "Show the rollout of a service",
		help: "It is the one that is under way, or the last. With -watch and -json every state is a\nline of JSON.", min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (rolloutView, error) {
			s, err := client.Service(ctx, c.args[0])
			return rolloutViewOf(s), err
		}, func(c *call, v rolloutView) { v.show(c, time.Now()) })
	cmd.flags = func(fs *flag.FlagSet) {
		fs.BoolVar(&watch, "watch", false, "show it again whenever it changes, until Ctrl-C")
	}
	once := cmd.run
	cmd.run = func(ctx context.Context, c *call) error {
		if !watch {
			return once(ctx, c)
		}
		return watchService(ctx, c, func(s api.Service) any { return rolloutViewOf(s) }, func(c *call, s api.Service) { rolloutViewOf(s).show(c, time.Now()) })
	}
	return cmd
}

func rolloutPauseCommand() command {
	return rolloutOrderCommand(wadi.RolloutPause, "Keep the shares of a rollout as they are",
		"It stays as it is until wadi rollout resume or abort. A gate that finds the revision\nworse does not go back meanwhile.")
}

func rolloutResumeCommand() command {
	return rolloutOrderCommand(wadi.RolloutResume, "Go on with a rollout that was paused", "")
}

func rolloutAbortCommand() command {
	return rolloutOrderCommand(wadi.RolloutAbort, "Give the share of a rollout back to the revision before",
		"The revision gets no share of \"latest\" until it is applied again, changed or not.")
}

func rolloutOrderCommand(action wadi.RolloutAction, synopsis, help string) command {
	var checkIndex indexFlag
	cmd := remoteCommand(command{
		usage: fmt.Sprintf("wadi rollout %s [options] NAME", action), synopsis: synopsis, help: help, min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (api.RolloutOrdered, error) {
			return client.OrderRollout(ctx, c.args[0], api.RolloutOrder{Action: action, CheckIndex: checkIndex.index})
		},
		func(c *call, o api.RolloutOrdered) {
			done := map[wadi.RolloutAction]string{wadi.RolloutPause: "paused", wadi.RolloutResume: "resumed", wadi.RolloutAbort: "aborted"}[o.Action]
			if !o.Changed {
				done += " already"
			}
			if !o.Changed && o.Action == wadi.RolloutResume {
				done = "not paused"
			}
			c.printf("%s: the rollout of %s is %s\n", o.Service, o.Revision, done)
		})
	cmd.flags = func(fs *flag.FlagSet) {
		fs.Var(&checkIndex, "check-index", "order it only if the service is stored with this `index`")
	}
	return cmd
}

// rolloutView is the rollout of a service in the JSON output.
type rolloutView struct {
	Service string              `json:"service"`
	Setting *wadi.Rollout       `json:"setting"` // Null: a new revision takes over at once.
	Rollout *wadi.RolloutStatus `json:"rollout"` // Null: there was none.
	Order   wadi.RolloutOrder   `json:"order,omitzero"`
	Traffic []wadi.TargetStatus `json:"traffic"`
}

func rolloutViewOf(s api.Service) rolloutView {
	return rolloutView{Service: s.Service.Name, Setting: s.Service.Rollout, Rollout: s.Status.Rollout, Order: s.RolloutOrder, Traffic: s.Status.Traffic}
}

func (v rolloutView) show(c *call, now time.Time) {
	c.printf("Service   %s\n", v.Service)
	c.printf("Setting   %s\n", settingText(v.Setting))
	r := v.Rollout
	if r == nil {
		c.printf("Rollout   none so far\n")
		return
	}
	c.printf("Rollout   %s takes over from %s\n", r.Revision, orDash(r.From))
	c.printf("Phase     %s for %s\n", c.paint(c.stdout, string(r.Phase)), age(r.Since, now))
	c.printf("Share     %s\n", shareText(r))
	if !r.Next.IsZero() && r.UnderWay() {
		c.printf("Next      in %s\n", remaining(r.Next, now))
	}
	if r.Reason != "" {
		c.printf("Why       %s\n", clean(r.Reason))
	}
	if o := v.Order; o.Revision == r.Revision && o.Action != "" {
		c.printf("Ordered   %s\n", orderText(o, now))
	}
	showTargets(c, v.Traffic)
}

// orderText says who ordered what.
func orderText(o wadi.RolloutOrder, now time.Time) string {
	text := string(o.Action)
	if o.By != "" {
		text += " by " + clean(o.By)
	}
	return text + " " + age(time.Unix(o.At, 0), now) + " ago"
}

// settingText is a rollout's setting in a sentence.
func settingText(o *wadi.Rollout) string {
	if !o.Gradual() {
		return "a new revision takes over at once, when it is ready"
	}
	steps := "even steps"
	if o.Steps > 0 {
		steps = wadi.Quantity(o.Steps, "even step")
	}
	text := fmt.Sprintf("1 %% at first, then %s in %s", steps, o.Duration.Short())
	if o.Hold > 0 {
		text += ", each of at least " + o.Hold.Short()
	}
	var gates []string
	if o.MaxErrorPercent > 0 {
		gates = append(gates, "more than "+percent(o.MaxErrorPercent)+" more requests fail")
	}
	if o.MaxP99 > 0 {
		gates = append(gates, "p99 is above "+o.MaxP99.Short())
	}
	if len(gates) > 0 {
		text += "; it goes back if " + strings.Join(gates, ", or ")
	}
	return text
}

// shareText is how far a rollout is.
func shareText(r *wadi.RolloutStatus) string {
	text := percent(r.Percent) + " of latest"
	if r.Steps > 0 {
		text += fmt.Sprintf(", step %d of %d", r.Step, r.Steps)
	}
	return text
}

// rolloutLine is a rollout that is under way, in one line.
func rolloutLine(r *wadi.RolloutStatus, now time.Time) string {
	text := fmt.Sprintf("rollout of %s %s: %s", r.Revision, r.Phase, shareText(r))
	if !r.Next.IsZero() {
		text += ", next in " + remaining(r.Next, now)
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// showRollout shows the rollout that is under way, or that went back.
func showRollout(c *call, s api.Service) {
	r := s.Status.Rollout
	if r == nil || r.Phase == wadi.RolloutDone {
		return
	}
	text := rolloutLine(r, time.Now())
	c.printf("\n%s\n", clean(strings.ToUpper(text[:1])+text[1:]))
}

// howSet says how the traffic of a service was set.
func howSet(s api.Service) string {
	if o := s.TrafficOrder; o != (wadi.TrafficOrder{}) {
		text := "by " + clean(o.String())
		if o.From != "" {
			text += ", from " + clean(o.From)
		}
		return text + ", " + age(time.Unix(o.At, 0), time.Now()) + " ago"
	}
	return "by the file, or by default"
}
