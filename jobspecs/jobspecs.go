// Package jobspecs turns a user's HCL into wadi.Service values, and a revision
// into the Nomad job that runs it.
//
// It promises to report every mistake of a file at once, each with its file,
// line, column and the setting it is about; to keep Nomad's own errors at the
// user's lines; and to render the same revision to the same bytes every time.
// It is pure: no I/O, no clock. The caller asks Nomad's parser between
// [Draft.NomadSource] and [Draft.Finish]. It is the only package that knows
// Nomad's job types, and it refuses what this version of Wadi doesn't do
// instead of ignoring it.
package jobspecs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
)

// MaxServices is how many services may be submitted at once.
const MaxServices = 16

// File is one file of a submission.
type File struct {
	Name   string // As problems name it.
	Source []byte
}

// Options are what a parse depends on besides the files.
type Options struct {
	Variables map[string]string // Values of HCL variables, as given with -var.
	Defaults  Defaults          // The agent's; the zero value is the built-in ones.
	Limits    Limits            // The agent's.
}

// Limits bound what a spec may ask for. A zero field is its default.
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

// Draft is a service as its file says, whose instance block Nomad has still to parse.
type Draft struct {
	// Service is defaulted and has no Instance yet, nor a ServingTask unless the
	// user named one.
	Service wadi.Service

	file       File
	root       *hclsyntax.Body
	service    *hclsyntax.Block
	instance   *hclsyntax.Block
	variables  string               // HCL of a variable file for Nomad.
	ranges     map[string]hcl.Range // Where settings stand, by path.
	reported   map[string]bool      // Paths in instance that Parse already complained about.
	places     map[[2]int]bool      // Lines and columns of that.
	valueless  map[string]bool      // Variables whose values Parse refused or missed.
	overBudget bool                 // What is to be evaluated is beyond all bounds.
}

// File names the file that d came from.
func (d *Draft) File() string { return d.file.Name }

// OverBudget reports whether Parse gave up evaluating. Nomad must not be asked then: its
// parser has no bounds.
func (d *Draft) OverBudget() bool { return d.overBudget }

// At makes a problem about a setting of d, such as "protocol" or "scale.max". It
// stands where the setting does, else at the head of the service.
func (d *Draft) At(path, format string, args ...any) Problem {
	rng, ok := d.ranges[path]
	if !ok {
		rng = d.service.DefRange()
	}
	return problemAt(rng, path, format, args...)
}

// Parse reads one file. See [ParseFiles].
func Parse(f File, o Options) ([]*Draft, []Problem) {
	return ParseFiles([]File{f}, o)
}

// ParseFiles reads files that are submitted together and returns the services
// in them, with everything that is wrong, in the order of the files.
//
// Drafts come back even if there are problems, wherever the instance block could
// be found: so the caller can ask Nomad's parser about those too, and show the
// user all mistakes at once. A submission is good only if no problem is an error.
func ParseFiles(files []File, o Options) ([]*Draft, []Problem) {
	var (
		drafts   []*Draft
		problems []Problem
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
	if parsed { // Else variables may be declared where the syntax is broken.
		problems = append(problems, undeclared(files, o.Variables, declared)...)
	}
	return drafts, problems
}

// crossCheck finds what can only be seen with all services of a submission in sight.
func crossCheck(drafts []*Draft) []Problem {
	var problems []Problem
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

func undeclared(files []File, given map[string]string, declared map[string]bool) []Problem {
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !declared[name] {
			p := Problem{Path: "var." + name, Message: fmt.Sprintf("a value for variable %q was given, but no file declares it; add: variable %q {}", name, name)}
			if len(files) > 0 {
				p.File, p.Line, p.Column = files[0].Name, 1, 1
			}
			problems = append(problems, p)
		}
	}
	return problems
}
