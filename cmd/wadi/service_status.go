package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi/api"
)

func serviceStatusCommand() command {
	return remoteCommand(command{usage: "wadi service status [options] NAME", synopsis: "Show how a service is doing", min: 1, max: 1},
		func(ctx context.Context, client *api.Client, c *call) (api.Service, error) {
			return client.Service(ctx, c.args[0])
		}, showStatus)
}

func showStatus(c *call, s api.Service) {
	st := s.Status
	c.printf("Name        %s\n", s.Service.Name)
	c.printf("Namespace   %s\n", s.Service.Namespace)
	c.printf("Phase       %s\n", c.paint(c.stdout, s.Phase))
	c.printf("URL         %s\n", orDash(st.URL))
	c.printf("Generation  %d", s.Generation)
	if st.Generation < s.Generation {
		c.printf(" (what follows is about %d)", st.Generation)
	}
	c.printf("\nIndex       %d\n", s.Index)
	c.printf("Submitted   %s ago, from %s\n", age(time.Unix(s.Submitted, 0), time.Now()), clean(s.File))
	for _, id := range slices.Sorted(maps.Keys(s.Overrides)) {
		c.printf("Instances   %s%s\n", strings.TrimLeft(id+" ", " "), overrideText(s.Overrides[id], time.Now()))
	}
	var rows [][]string
	if len(st.Traffic) > 1 || len(st.Traffic) == 1 && st.Traffic[0].Tag != "" {
		for _, t := range st.Traffic {
			rows = append(rows, []string{t.Revision, percent(t.Percent), orDash(t.Tag), orDash(t.URL)})
		}
		c.printf("\n")
		c.table(-1, []string{"TARGET", "TRAFFIC", "TAG", "URL"}, rows)
		rows = nil
	}
	for _, r := range st.Revisions {
		rows = append(rows, []string{r.ID, string(r.Phase), percent(r.Percent), age(time.Unix(r.Created, 0), time.Now()), r.Reason})
	}
	if len(rows) > 0 {
		c.printf("\n")
		c.table(1, []string{"REVISION", "PHASE", "TRAFFIC", "AGE", "REASON"}, rows)
	}
	rows = nil
	for _, cond := range st.Conditions {
		ok := "no"
		if cond.OK {
			ok = "yes"
		}
		rows = append(rows, []string{cond.Type, ok, age(cond.Since, time.Now()), orDash(cond.Reason), cond.Message})
	}
	if len(rows) > 0 {
		c.printf("\n")
		c.table(1, []string{"CONDITION", "OK", "SINCE", "REASON", "MESSAGE"}, rows)
	}
	if len(st.Events) > 0 {
		c.printf("\n")
		for _, e := range st.Events {
			showEvent(c, e)
		}
	}
}
