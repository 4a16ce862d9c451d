// Package jobspecs turns a user's HCL into wadi.Service values, and a revision into the
// Nomad job that runs it.
//
// It promises to report every mistake of a file at once, each with its file, line, column
// and setting; to keep Nomad's own errors at the user's lines; and to render the same
// revision to the same bytes every time. It is pure: no I/O, no clock. The caller asks
// Nomad's parser between [Draft.NomadSource] and [Draft.Complete]. [Render] makes the
// job's JSON. Only it and packages below it have Nomad's job types. It refuses settings that this
// version of Wadi does not have instead of ignoring them.
package jobspecs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
)

// MaxServices bounds the services of one submission.
const MaxServices = 16

// File is one file of a submission.
type File struct {
	Name   string // As problems name it.
	Source []byte
}

// Options are the inputs of a parse besides the files.
type Options struct {
	Variables map[string]string // Values of HCL variables, as given with -var.
	Defaults  Defaults          // The agent's; the zero value is the built-in ones.
	Limits    Limits            // The agent's.
}

// Limits bound what a spec may request. A zero field is its default.
type Limits struct {
	MaxInstances      int           // Of one revision; 100.
	MaxRequestTimeout time.Duration // 1h.
	MaxSpecBytes      int           // Of one file; 1 MiB.
}

func (l Limits) orDefault() Limits {
	l.MaxInstances = cmp.Or(l.MaxInstances, 100)
	l.MaxRequestTimeout = cmp.Or(l.MaxRequestTimeout, time.Hour)
	l.MaxSpecBytes = cmp.Or(l.MaxSpecBytes, 1<<20)
	return l
}

// Draft is a service as in its file, whose instance block is not parsed by Nomad yet.
type Draft struct {
	// Service has its defaults. It has no Instance yet, and a ServingTask only if the user
	// named one.
	Service wadi.Service

	file       File
	root       *hclsyntax.Body
	service    *hclsyntax.Block
	instance   *hclsyntax.Block
	variables  string               // HCL of a variable file for Nomad.
	ranges     map[string]hcl.Range // Places of settings, by path.
	reported   map[string]bool      // Paths in instance that Parse complained about.
	places     map[[2]int]bool      // Lines and columns of these.
	valueless  map[string]bool      // Variables whose values Parse refused or missed.
	overBudget bool                 // The expressions exceed all bounds.
}

// File is the name of d's file.
func (d *Draft) File() string { return d.file.Name }

// OverBudget reports whether Parse stopped evaluating. Nomad must not be asked then: its
// parser has no bounds.
func (d *Draft) OverBudget() bool { return d.overBudget }

// At makes a problem about a setting of d, such as "protocol" or "scale.max". Its place is
// that of the setting, or else the head of the service; of one in the instance, that of its
// task or of the instance.
func (d *Draft) At(path, format string, args ...any) wadi.Problem {
	if strings.HasPrefix(path, "instance.") {
		return d.inInstance(path, format, args...)
	}
	rng, ok := d.ranges[path]
	if !ok {
		rng = d.service.DefRange()
	}
	return problemAt(rng, path, format, args...)
}

// Parse reads one file. See [ParseFiles].
func Parse(f File, o Options) ([]*Draft, []wadi.Problem) {
	return ParseFiles([]File{f}, o)
}

// ParseFiles reads files that are submitted together and returns their services, with
// every problem, in the order of the files.
//
// It returns drafts even if there are problems, wherever it found an instance block: so
// the caller can ask Nomad's parser about those, too, and show all mistakes at once. A
// submission is good only if no problem is an error.
func ParseFiles(files []File, o Options) ([]*Draft, []wadi.Problem) {
	var (
		drafts   []*Draft
		problems []wadi.Problem
		declared = map[string]bool{}
		parsed   = true
	)
	o.Limits = o.Limits.orDefault()
	meter := newBudget(maxWork)
	for _, f := range files {
		r := &reader{file: f, limits: o.Limits, scope: scope{budget: meter}}
		ds, ok := r.parse(o)
		parsed = parsed && ok
		maps.Copy(declared, r.declared)
		drafts = append(drafts, ds...)
		sortProblems(r.problems)
		problems = append(problems, bounded(r.problems)...)
	}
	for _, d := range drafts {
		d.overBudget = meter.exceeded != ""
	}
	problems = append(problems, crossCheck(drafts)...)
	if parsed { // Otherwise variables may be declared where the syntax is broken.
		problems = append(problems, undeclared(files, o.Variables, declared)...)
	}
	return drafts, problems
}

// crossCheck finds problems between the services of a submission.
func crossCheck(drafts []*Draft) []wadi.Problem {
	var problems []wadi.Problem
	names, domains := map[string]*Draft{}, map[string]*Draft{}
	for i, d := range drafts {
		if i == MaxServices {
			problems = append(problems, d.At("", "%d services are submitted at once, at most %d may be; submit them in parts", len(drafts), MaxServices))
		}
		if first := names[d.Service.Name]; first != nil {
			problems = append(problems, d.At("name", "there is a service %q already, %s; give one of them another name", d.Service.Name, first.where("")))
			continue
		}
		names[d.Service.Name] = d
		for _, domain := range d.Service.Domains {
			if first := domains[domain]; first != nil && first != d {
				problems = append(problems, d.At("domains", "%s is a domain of service %q already, %s", domain, first.Service.Name, first.where("domains")))
				continue
			}
			domains[domain] = d
		}
	}
	return problems
}

func (d *Draft) where(path string) string {
	p := d.At(path, "")
	return fmt.Sprintf("at %s:%d", p.File, p.Line)
}

func undeclared(files []File, given map[string]string, declared map[string]bool) []wadi.Problem {
	var problems []wadi.Problem
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !declared[name] {
			p := wadi.Problem{Path: "var." + name, Message: fmt.Sprintf("a value for variable %q was given, but no file declares it; add: variable %q {}", name, name)}
			if len(files) > 0 {
				p.File, p.Line, p.Column = files[0].Name, 1, 1
			}
			problems = append(problems, p)
		}
	}
	return problems
}
