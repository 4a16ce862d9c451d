package main

import (
	"context"
	"flag"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/posener/complete"
)

const (
	completionTimeout   = 2 * time.Second // Of the calls for one completion: a shell waits.
	completionRevisions = 8               // Services whose revisions are asked for, at most.
)

// What a command's usage calls its arguments.
var (
	argumentFile     = regexp.MustCompile(`\bFILE\b`)
	argumentService  = regexp.MustCompile(`\b(NAME|SERVICE)\b`)
	argumentRevision = regexp.MustCompile(`\bID\b`)
)

// plainWord is what names look like. Anything else that an agent answers is not put into
// somebody's command line, where a shell would read it.
var plainWord = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// completion completes the words of a command line. It asks the agent that the line, or
// else the environment, names, and knows nothing where that does not answer.
type completion struct {
	ctx context.Context
	command
	stdio
}

// AutocompleteArgs implements cli.CommandAutocomplete.
func (p completion) AutocompleteArgs() complete.Predictor {
	switch {
	case argumentFile.MatchString(p.usage):
		return complete.PredictFiles("*.hcl")
	case !p.remote:
	case argumentService.MatchString(p.usage):
		return complete.PredictFunc(p.services)
	case argumentRevision.MatchString(p.usage):
		return complete.PredictFunc(p.revisions)
	}
	return complete.PredictNothing
}

// AutocompleteFlags implements cli.CommandAutocomplete.
func (p completion) AutocompleteFlags() complete.Flags {
	out := complete.Flags{"-h": complete.PredictNothing}
	p.flagSet(&call{}).VisitAll(func(f *flag.Flag) {
		value, _ := flag.UnquoteUsage(f)
		b, isBool := f.Value.(interface{ IsBoolFlag() bool })
		switch {
		case isBool && b.IsBoolFlag():
			out["-"+f.Name] = complete.PredictNothing
		case value == "file" || value == "dir" || value == "folder":
			out["-"+f.Name] = complete.PredictFiles("*")
		case f.Name == "service" && p.remote:
			out["-"+f.Name] = complete.PredictFunc(p.services)
		default:
			out["-"+f.Name] = complete.PredictAnything
		}
	})
	return out
}

// call is the call that the line has so far. Flags after the first wrong one are not read.
func (p completion) call(a complete.Args) *call {
	c := &call{stdio: p.stdio}
	_ = p.flagSet(c).Parse(a.Completed) // The line is not finished.
	c.takeTokens()
	return c
}

// services are the names of all services that the caller may see.
func (p completion) services(a complete.Args) []string {
	ctx, cancel := context.WithTimeout(p.ctx, completionTimeout)
	defer cancel()
	return serviceNames(ctx, p.call(a))
}

func serviceNames(ctx context.Context, c *call) []string {
	client, err := c.client()
	if err != nil {
		return nil
	}
	all, err := client.Services(ctx)
	if err != nil {
		return nil
	}
	names := map[string]bool{}
	for _, s := range all {
		if plainWord.MatchString(s.Name) {
			names[s.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// revisions are those of the services that the last word may belong to.
func (p completion) revisions(a complete.Args) (out []string) {
	ctx, cancel := context.WithTimeout(p.ctx, completionTimeout)
	defer cancel()
	c := p.call(a)
	asked := 0
	for _, name := range serviceNames(ctx, c) {
		if !strings.HasPrefix(name+"-", a.Last) && !strings.HasPrefix(a.Last, name+"-") {
			continue
		}
		if asked++; asked > completionRevisions {
			return out
		}
		client, err := c.client()
		if err != nil {
			return nil
		}
		revisions, err := client.Revisions(ctx, name)
		if err != nil {
			continue // Deleted by now, or the agent is too slow for a shell that waits.
		}
		for _, r := range revisions {
			if plainWord.MatchString(r.ID) {
				out = append(out, r.ID)
			}
		}
	}
	return out
}
