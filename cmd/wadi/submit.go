package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wadi-run/wadi/api"
)

// optionalIndex is a flag for which 0 and absent differ.
type optionalIndex struct {
	set   bool
	index uint64
}

func (o *optionalIndex) String() string { return "" }

func (o *optionalIndex) Set(v string) error {
	if _, err := fmt.Sscanf(v+"\n", "%d\n", &o.index); err != nil {
		return fmt.Errorf("%q is not an index", v)
	}
	o.set = true
	return nil
}

// addTo sets the check index of the only service in parts.
func (o *optionalIndex) addTo(parts []api.Submission) error {
	if !o.set {
		return nil
	}
	var names []string
	for _, p := range parts {
		for _, f := range p.Files {
			names = append(names, outlineOf(f).names...)
		}
	}
	if len(names) != 1 {
		return usagef("-check-index is for files with one service; there are %d", len(names))
	}
	parts[0].CheckIndex = map[string]uint64{names[0]: o.index}
	return nil
}

// submissions reads the files that the arguments name, in parts that an agent accepts.
func submissions(c *call, variables *variableFlags) ([]api.Submission, error) {
	files, err := readSources(c.stdin, c.args)
	if err != nil {
		return nil, err
	}
	values, err := variables.values(c, files)
	if err != nil {
		return nil, err
	}
	split := batches(files)
	if len(split) > 1 {
		writef(c.stderr, "More services than one submission may hold: submitting in %d parts, each all or none.\n", len(split))
	}
	var out []api.Submission
	for _, part := range split {
		out = append(out, api.Submission{Files: part, Variables: variablesOf(part, files, values)})
	}
	return out, nil
}

// variablesOf leaves out variables that only other parts declare. Variables that no file
// declares stay, so that the agent reports them.
func variablesOf(part, all []api.File, values map[string]string) map[string]string {
	here, anywhere := declared(part), declared(all)
	out := map[string]string{}
	for name, value := range values {
		if slices.Contains(here, name) || !slices.Contains(anywhere, name) {
			out[name] = value
		}
	}
	return out
}

func declared(files []api.File) []string {
	var out []string
	for _, f := range files {
		out = append(out, outlineOf(f).variables...)
	}
	return out
}

func submitAll(ctx context.Context, c *call, client *api.Client, parts []api.Submission) (api.Submitted, error) {
	var all api.Submitted
	for i, part := range parts {
		answered := c.noticeSlowAnswer()
		out, err := client.Apply(ctx, part)
		answered()
		if err != nil {
			if i > 0 {
				writef(c.stderr, "Part %d of %d was refused; the parts before it stay submitted.\n", i+1, len(parts))
			}
			if errors.Is(err, context.Canceled) {
				err = errors.New("interrupted while submitting: \"wadi service list\" shows whether it was stored")
			}
			return all, err
		}
		all.Services = append(all.Services, out.Services...)
		all.Warnings = append(all.Warnings, out.Warnings...)
	}
	return all, nil
}

func showSubmitted(c *call, submitted api.Submitted) error {
	if c.json {
		return c.printJSON(submitted)
	}
	showWarnings(c, submitted)
	for _, s := range submitted.Services {
		c.printf("%s: %s\n", s.Name, outcomes(s, "submitted, new revision"))
	}
	return nil
}

// showWarnings prints warnings to standard error, where they do not disturb the output.
func showWarnings(c *call, submitted api.Submitted) {
	for _, w := range submitted.Warnings {
		writef(c.stderr, "Warning: %s\n", w)
	}
	for _, s := range submitted.Services {
		for _, w := range s.Warnings {
			writef(c.stderr, "Warning: %s: %s\n", s.Name, w)
		}
	}
}

// outcome says what a submission did to a service; made introduces a new revision.
func outcome(s api.SubmittedService, made string) string {
	switch {
	case s.NewRevision:
		return made + " " + s.Revision
	case slices.Contains(s.Retried, s.Revision):
		return "revision " + s.Revision + " had failed and is tried again"
	case s.Changed:
		return "changed in place, revision " + s.Revision + " stays"
	}
	return "unchanged, revision " + s.Revision
}

// outcomes is the outcome, with the older revisions that are tried again.
func outcomes(s api.SubmittedService, made string) string {
	text := outcome(s, made)
	for _, id := range s.Retried {
		if id != s.Revision {
			text += "; " + id + " had failed and is tried again"
		}
	}
	return text
}
