package main

import (
	"context"
	"flag"
	"time"

	"github.com/wadi-run/wadi/api"
)

// Exit codes of plan, as of Nomad's.
const (
	exitUnchanged  = 0
	exitChanged    = 1
	exitPlanFailed = 255
)

func planCommand() command {
	var (
		variables  variableFlags
		checkIndex checkIndexes
		verbose    bool
		forecasts  bool
		startUp    time.Duration
	)
	return command{
		usage:    "wadi plan [options] FILE|DIR|- ...",
		synopsis: "Show what apply would change, and change nothing",
		help: `For each service it shows whether there is a new revision and why, Nomad's own
diff of its job, the settings that change, image tags that have moved, and traffic
and Consul's entries once the revision is ready. Nomad's scheduler is asked whether
it could place the first instances now. It takes the rights to submit and to read the
service's jobs. What Nomad would refuse is refused.

With -forecast the load of the service's last day, as the agents have kept it by
minute, is simulated with the stored settings and with these: how many requests
would have waited or been refused, and how many instance-seconds it would have taken.

Exit codes are those of Nomad's plan:

  0    nothing would change
  1    something would change
  255  an error, or wrong usage`,
		remote: true, min: 1, max: -1, failed: exitPlanFailed,
		flags: func(fs *flag.FlagSet) {
			variables.register(fs)
			fs.BoolVar(&verbose, "verbose", false, "show what is in added and deleted parts")
			fs.BoolVar(&forecasts, "forecast", false, "simulate the load of the last day with the stored settings and with these")
			fs.DurationVar(&startUp, "start-up", 5*time.Second, "with -forecast: the `time` from the request for an instance until it is ready")
			fs.Var(&checkIndex, "check-index", "fail unless the service is stored with this `index` (0: unless it is new); NAME=INDEX\nfor one service of several, and may be repeated")
		},
		run: func(ctx context.Context, c *call) error {
			if startUp < minStartUp || startUp > maxStartUp {
				return usagef("-start-up must be between %s and %s, got %s", minStartUp, maxStartUp, startUp)
			}
			parts, err := submissions(c, &variables)
			if err != nil {
				return err
			}
			if err := checkIndex.addTo(parts); err != nil {
				return err
			}
			planned, err := planAll(ctx, c, parts)
			if err != nil {
				return err
			}
			var simulated []forecast
			if forecasts {
				if simulated, err = forecastAll(ctx, c, planned, startUp); err != nil {
					return err
				}
			}
			if c.json {
				err = c.printJSON(struct {
					api.Plan
					Forecasts []forecast `json:"forecasts,omitempty"`
				}{planned, simulated})
			} else {
				p := planPrinter{c, verbose, variables}
				p.print(planned)
				p.forecasts(simulated, startUp)
			}
			if err == nil && planned.Changed {
				err = exitWith(exitChanged)
			}
			return err
		},
	}
}

// planAll asks for the plan of each part.
func planAll(ctx context.Context, c *call, parts []api.Submission) (api.Plan, error) {
	client, err := c.client()
	if err != nil {
		return api.Plan{}, err
	}
	var all api.Plan
	for _, part := range parts {
		answered := c.noticeSlowAnswer()
		out, err := client.Plan(ctx, part)
		answered()
		if err != nil {
			return all, err
		}
		all.Services = append(all.Services, out.Services...)
		all.Warnings = append(all.Warnings, out.Warnings...)
		all.Changed = all.Changed || out.Changed
	}
	return all, nil
}
