package main

import (
	"github.com/wadi-run/wadi/internal/setup"
)

// showFound prints what there is.
func (c *call) showFound(cluster setup.Cluster) {
	var rows [][]string
	for _, f := range setup.Found(cluster) {
		rows = append(rows, []string{f.About, f.What})
	}
	c.table(-1, []string{"", "FOUND"}, rows)
	c.printf("\n")
}

// setupJSON is what was done, for -json.
type setupJSON struct {
	Dir   string       `json:"dir"`
	Files []string     `json:"files"`
	Found []setup.Fact `json:"found"`
	Notes []string     `json:"notes"`
	Steps []setup.Step `json:"steps"`

	Chosen map[string]any `json:"chosen"`
}

// showSetup prints what was written, what to look at, and what to do next.
func (c *call) showSetup(f initFlags, cluster setup.Cluster, choice setup.Choice, files []setup.File) error {
	notes, steps := setup.Notes(cluster, choice), setup.Steps(cluster, choice)
	if c.json {
		out := setupJSON{Dir: f.dir, Files: []string{}, Found: setup.Found(cluster), Notes: append([]string{}, notes...), Steps: steps, Chosen: map[string]any{
			"runs_as": choice.RunsAs, "mesh": choice.Mesh, "driver": choice.Driver, "envoy_image": choice.EnvoyImage,
			"domain": choice.Domain, "namespaces": choice.Namespaces, "prefix": choice.Prefix, "bin": choice.Bin,
		}}
		for _, file := range files {
			out.Files = append(out.Files, file.Name)
		}
		return c.printJSON(out)
	}
	if f.yes {
		c.showFound(cluster)
	}
	var rows [][]string
	for _, file := range files {
		rows = append(rows, []string{file.Name, file.What})
	}
	c.table(-1, []string{"WRITTEN TO " + f.dir, ""}, rows)
	for _, n := range notes {
		c.printf("\nNote: %s.\n", clean(n))
	}
	c.printf("\nNext, in that folder:\n")
	for _, s := range steps {
		if s.What != "" {
			c.printf("\n  # %s\n", s.What)
		}
		c.printf("  %s\n", s.Command)
	}
	return nil
}
