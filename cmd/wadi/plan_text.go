package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// planPrinter prints plans in the style of Nomad's.
type planPrinter struct {
	*call
	verbose   bool          // Also what is in added and deleted parts.
	variables variableFlags // That the plan was made with.
}

func (p planPrinter) print(all api.Plan) {
	for _, w := range all.Warnings {
		writef(p.stderr, "Warning: %s\n", clean(w.String()))
	}
	for i, s := range all.Services {
		if i > 0 {
			p.printf("\n")
		}
		p.service(s)
	}
	if all.Changed {
		p.index(all)
	}
}

func (p planPrinter) service(s api.ServicePlan) {
	kind := wadi.ChangeNone
	switch {
	case s.Index == 0:
		kind = wadi.ChangeAdded
	case s.Changed:
		kind = wadi.ChangeEdited
	}
	p.line(0, kind, fmt.Sprintf("Service: %q (%s)", s.Name, planned(s)))
	if s.NewRevision && s.Service.ImagePrefetch {
		p.line(1, wadi.ChangeNone, "the images of "+s.Revision+" are fetched to the nodes before it starts (image_prefetch)")
	}
	for _, m := range s.Moved {
		p.line(1, wadi.ChangeEdited, clean(m.String()))
	}
	for _, c := range s.Settings {
		if kind != wadi.ChangeAdded || p.verbose {
			p.change(1, c)
		}
	}
	if s.Job != nil {
		p.job(s)
	}
	p.traffic(s)
	for _, c := range s.Consul {
		c.Name = "Consul: " + c.Name
		p.change(0, c)
	}
	p.dryRun(s)
	for _, w := range s.Warnings {
		p.printf("%s %s\n", p.colour(yellow, "Warning:"), clean(w))
	}
}

// planned is what a submission would do to a service.
func planned(s api.ServicePlan) string {
	text := outcomes(api.SubmittedService{
		Name: s.Name, Revision: s.Revision, NewRevision: s.NewRevision, Changed: s.Changed, Retried: s.Retried,
	}, "new revision")
	if len(s.Because) > 0 {
		text += ", for " + strings.Join(s.Because, ", ")
	}
	return text
}

// job prints Nomad's diff under the name of the new job.
func (p planPrinter) job(s api.ServicePlan) {
	d := s.Job.Diff
	switch {
	case s.Job.Base == "":
		d.Name = fmt.Sprintf("Job: %q", s.Revision)
	case d.Kind == wadi.ChangeNone:
		d.Name = fmt.Sprintf("Job: %q (as that of %s)", s.Revision, s.Job.Base)
	default:
		d.Name = fmt.Sprintf("Job: %q (against that of %s)", s.Revision, s.Job.Base)
	}
	p.change(0, d)
}

func (p planPrinter) traffic(s api.ServicePlan) {
	if len(s.Traffic) == 0 {
		return
	}
	when := ""
	if s.NewRevision {
		when = " (once " + s.Revision + " is ready)"
	}
	p.line(0, wadi.ChangeEdited, "Traffic"+when)
	for _, t := range s.Traffic {
		name := t.Revision
		if t.Tag != "" {
			name += " with tag " + t.Tag
		}
		c := wadi.Change{Kind: t.Kind, Name: name}
		if t.Kind != wadi.ChangeAdded {
			c.Old = percent(t.Before)
		}
		if t.Kind != wadi.ChangeDeleted {
			c.New = percent(t.After)
		}
		p.change(1, c)
	}
	if s.NewRevision && s.Index != 0 && s.Service.Rollout.Gradual() && !wadi.Pinned(s.Service.Traffic) {
		p.line(1, wadi.ChangeNone, "rollout: "+settingText(s.Service.Rollout))
	}
}

// change prints a tree. Of added and deleted parts only the verbose printer shows more than
// the head.
func (p planPrinter) change(depth int, c wadi.Change) {
	text := clean(c.Name)
	switch {
	case c.Kind == wadi.ChangeEdited && (c.Old != "" || c.New != ""):
		text += fmt.Sprintf(": %s => %s", orDash(clean(c.Old)), orDash(clean(c.New)))
	case c.Old != "" || c.New != "":
		text += ": " + clean(c.Old+c.New)
	}
	if c.Note != "" {
		text += " (" + clean(c.Note) + ")"
	}
	p.line(depth, c.Kind, text)
	if c.Kind != wadi.ChangeEdited && !p.verbose {
		return
	}
	for _, part := range c.Changes {
		p.change(depth+1, part)
	}
}

// line prints one line with the mark of its kind.
func (p planPrinter) line(depth int, kind wadi.ChangeKind, text string) {
	mark := "    "
	switch kind {
	case wadi.ChangeAdded:
		mark = p.colour(green, "+") + "   "
	case wadi.ChangeDeleted:
		mark = p.colour(red, "-") + "   "
	case wadi.ChangeEdited:
		mark = p.colour(yellow, "+/-") + " "
	}
	p.printf("%s%s%s\n", strings.Repeat("  ", depth), mark, text)
}

func (p planPrinter) colour(code, text string) string {
	if !p.coloured(p.stdout) {
		return text
	}
	return code + text + reset
}

// dryRun prints whether Nomad's scheduler could place the first instances.
func (p planPrinter) dryRun(s api.ServicePlan) {
	if s.Job == nil {
		return
	}
	of := wadi.Quantity(s.Job.Count, "instance")
	p.printf("Scheduler dry-run of %s:\n", of)
	if s.Job.Unplaced != "" {
		p.printf("%s\n", p.colour(yellow, "- WARNING: Nomad could not place all of them now: "+clean(s.Job.Unplaced)))
		return
	}
	p.printf("%s\n", p.colour(green, "- All instances would be placed."))
}

// index prints how exactly this is submitted.
func (p planPrinter) index(all api.Plan) {
	p.printf("\n")
	flags := ""
	for _, s := range all.Services {
		p.printf("Service Modify Index of %s: %d\n", s.Name, s.Index)
		if len(all.Services) == 1 {
			flags += fmt.Sprintf(" -check-index %d", s.Index)
		} else {
			flags += fmt.Sprintf(" -check-index %s=%d", s.Name, s.Index)
		}
	}
	words := p.variables.args()
	if p.address != p.setting("WADI_ADDR", api.DefaultAddress) { // Elsewhere it would be another cluster's.
		words = append([]string{"-address", p.address}, words...)
	}
	for _, word := range append(words, p.args...) {
		flags += " " + shellWord(word)
	}
	p.printf(`To submit exactly this, run:

wadi apply%s

With -check-index nothing is submitted if a service has another index by then: it was
changed meanwhile, and this plan may not hold.
`, flags)
}

// unquoted is what a shell takes as it is.
var unquoted = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellWord is an argument as a POSIX shell takes it.
func shellWord(s string) string {
	if unquoted.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
