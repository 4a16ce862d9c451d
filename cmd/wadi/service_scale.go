package main

import (
	"context"
	"flag"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func serviceScaleCommand() command {
	var lasts time.Duration
	var isClear bool
	var revision string
	return command{
		usage:    "wadi service scale -for 10m [options] NAME COUNT | wadi service scale -clear NAME",
		synopsis: "Override the count of instances for a time",
		help: `The count replaces what the load wants, scale.min and schedules, but stays below
scale.max; it ends by itself. At a count of 0 a request still wakes the service,
which goes back to zero when no request is in flight.`,
		remote: true, min: 1, max: 2,
		flags: func(fs *flag.FlagSet) {
			fs.DurationVar(&lasts, "for", 0, "how `long` the override lasts, for instance 10m; 0 ends an override")
			fs.BoolVar(&isClear, "clear", false, "end the override")
			fs.StringVar(&revision, "revision", "", "override the revision with this `ID`; default: the one with most of the traffic")
		},
		run: func(ctx context.Context, c *call) error {
			count, release, err := overrideArgs(c.args, lasts, isClear)
			if err != nil {
				return err
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			var out api.Scaled
			answered := c.noticeSlowAnswer()
			if release {
				out, err = client.ClearOverride(ctx, c.args[0], revision)
			} else {
				out, err = client.Override(ctx, c.args[0], revision, count, lasts)
			}
			answered()
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(out)
			}
			showOverride(c, out)
			return nil
		},
	}
}

// overrideArgs reads what was typed: an override needs a count and a time, its end neither.
func overrideArgs(args []string, lasts time.Duration, isClear bool) (count int, release bool, err error) {
	switch {
	case isClear && lasts != 0:
		return 0, false, usagef("-clear and -for can't be had together")
	case isClear && len(args) > 1:
		return 0, false, usagef("-clear takes no count")
	case isClear:
		return 0, true, nil
	case lasts < 0:
		return 0, false, usagef("-for %s is negative", lasts)
	case len(args) < 2 && lasts == 0:
		return 0, false, usagef("how many instances, and for how long? For instance: wadi service scale -for 10m %s 5", args[0])
	case len(args) < 2:
		return 0, false, usagef("the count is missing")
	}
	if count, err = strconv.Atoi(args[1]); err != nil || count < 0 {
		return 0, false, usagef("the count %q is not a whole number from 0 on", args[1])
	}
	return count, lasts == 0, nil
}

func showOverride(c *call, h api.Scaled) {
	what := h.Service
	if h.Revision != "" {
		what = h.Revision
	}
	if h.Override == nil {
		c.printf("%s: the override has ended\n", what)
		return
	}
	c.printf("%s: %s\n", what, overrideText(*h.Override, time.Now()))
	for _, w := range h.Warnings {
		writef(c.stderr, "Warning: %s\n", clean(w))
	}
}

// overrideText says what a count is overridden to, and until when.
func overrideText(h wadi.Override, now time.Time) string {
	text := "overridden to " + strconv.Itoa(h.Count) + " until " + h.Until.Local().Format("2006-01-02 15:04:05") +
		" (" + remaining(h.Until, now) + " more)"
	if h.By != "" {
		text += " by " + clean(h.By)
	}
	return text
}
