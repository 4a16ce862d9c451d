package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wadi-run/wadi/api"
)

// checkIndexes is a flag that may be repeated: the index of the only service, or
// NAME=INDEX.
type checkIndexes struct {
	only  *uint64 // Of the only service; nil: not given. 0 and absent differ.
	named map[string]uint64
}

func (i *checkIndexes) String() string { return "" }

func (i *checkIndexes) Set(v string) error {
	name, number, named := strings.Cut(v, "=")
	if !named {
		number = v
	}
	index, err := strconv.ParseUint(number, 10, 64)
	if err != nil || named && name == "" {
		return fmt.Errorf("%q is neither an index nor NAME=INDEX", v)
	}
	if !named {
		i.only = &index
		return nil
	}
	if i.named == nil {
		i.named = map[string]uint64{}
	}
	i.named[name] = index
	return nil
}

// addTo sets the check indexes of the services in parts.
func (i *checkIndexes) addTo(parts []api.Submission) error {
	if i.only == nil && len(i.named) == 0 {
		return nil
	}
	var all []string
	for n := range parts {
		indexes := map[string]uint64{}
		for _, f := range parts[n].Files {
			for _, name := range outlineOf(f).names {
				all = append(all, name)
				if index, ok := i.named[name]; ok {
					indexes[name] = index
				} else if i.only != nil {
					indexes[name] = *i.only
				}
			}
		}
		parts[n].CheckIndex = indexes
	}
	if i.only != nil && (len(all) != 1 || len(i.named) > 0) {
		return usagef("-check-index INDEX is for files with one service; there are %d: use -check-index NAME=INDEX", len(all))
	}
	for name := range i.named {
		if !slices.Contains(all, name) {
			return usagef("-check-index names %q, which is in none of the files", name)
		}
	}
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

// showWarnings prints warnings, and which images moved, to standard error, where they do not
// disturb the output.
func showWarnings(c *call, submitted api.Submitted) {
	for _, w := range submitted.Warnings {
		writef(c.stderr, "Warning: %s\n", w)
	}
	for _, s := range submitted.Services {
		for _, m := range s.Moved {
			writef(c.stderr, "%s: %s\n", s.Name, clean(m.String()))
		}
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
