package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/secrets"
)

// permitAll checks the right to submit to the namespaces that the files name. It evaluates
// nothing else of the files, and nothing at all for an unknown caller.
func (a *Admission) permitAll(ctx context.Context, r Request, adm *admitted) ([]jobspecs.File, jobspecs.Options, error) {
	options := jobspecs.Options{Variables: r.Variables, Defaults: a.Defaults, Limits: a.Limits}
	if err := a.bounds(r); err != nil {
		return nil, options, err
	}
	_, unknown := a.Nomad.Known(ctx, r.NomadToken)
	if errors.Is(unknown, wadi.ErrForbidden) {
		return nil, options, fmt.Errorf("submit: %w", unknown)
	}
	adm.known = unknown == nil
	files := make([]jobspecs.File, 0, len(r.Files))
	for _, f := range r.Files {
		files = append(files, jobspecs.File{Name: f.Name, Source: []byte(f.Source)})
	}
	namespaces, err := scan(ctx, r, files, options)
	if err != nil {
		return nil, options, err
	}
	for _, ns := range namespaces {
		if err := a.permit(ctx, r.NomadToken, ns, adm.permitted); errors.Is(err, wadi.ErrForbidden) {
			return nil, options, err
		} // Else check asks again: mistakes come first, even while Nomad is unavailable.
	}
	return files, options, nil
}

// scan finds the namespaces that the files name.
func scan(ctx context.Context, r Request, files []jobspecs.File, options jobspecs.Options) ([]string, error) {
	if r.Scan != nil {
		done, err := r.Scan(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	return jobspecs.Namespaces(files, options), nil
}

// parse turns files into candidates, or reports every mistake of every file.
func (a *Admission) parse(ctx context.Context, r Request, files []jobspecs.File, options jobspecs.Options, adm *admitted) error {
	drafts, found := jobspecs.ParseFiles(files, options)
	if len(drafts) > jobspecs.MaxServices {
		return tooLarge("%d services are submitted at once, at most %d may be", len(drafts), jobspecs.MaxServices)
	}
	mistakes, warnings := divide(found)
	adm.warnings = append(adm.warnings, warnings...)
	more, unavailable := a.finishAll(ctx, r, drafts, adm)
	mistakes = append(mistakes, more...)
	switch {
	case len(mistakes) > 0:
		// Known mistakes come first, even if Nomad was unavailable for the rest.
		return &api.Error{Status: http.StatusBadRequest, Message: "bad input", Details: mistakes}
	case unavailable != nil:
		return unavailable
	case len(adm.candidates) == 0:
		return &api.Error{Status: http.StatusBadRequest, Message: "no service in what was submitted"}
	}
	adm.warnOfVariables(r.Variables)
	return nil
}

// warnOfVariables warns of values that are stored with the services and are likely secrets.
func (adm *admitted) warnOfVariables(given map[string]string) {
	services := make([]wadi.Service, 0, len(adm.candidates))
	for _, c := range adm.candidates {
		services = append(services, c.service)
	}
	names := secrets.Variables(given, services...)
	for _, name := range names[:min(len(names), maxVariableWarnings)] {
		adm.warnings = append(adm.warnings, wadi.Problem{Path: "var." + name,
			Message: "its name says that it is a secret, and its value is stored in clear, and shown to whoever may read the service; docs/secrets.md shows other ways"})
	}
}

// finishAll makes candidates of drafts. It returns the mistakes of all, and the first error
// of Nomad that is none.
func (a *Admission) finishAll(ctx context.Context, r Request, drafts []*jobspecs.Draft, adm *admitted) (mistakes []wadi.Problem, first error) {
	sources := map[string]api.File{}
	for _, f := range r.Files {
		sources[f.Name] = f
	}
	for _, d := range drafts {
		if d.OverBudget() {
			continue
		}
		c, found, err := a.finish(ctx, r.NomadToken, d)
		if err != nil && first == nil {
			first = err
		}
		mistakes = append(mistakes, found...)
		if c != nil {
			c.file = sources[d.File()]
			adm.candidates = append(adm.candidates, c)
		}
	}
	return mistakes, first
}

// finish has Nomad parse the instance of one draft, and makes a candidate of it.
func (a *Admission) finish(ctx context.Context, token string, d *jobspecs.Draft) (*candidate, []wadi.Problem, error) {
	job, variables := d.NomadSource()
	parsed, err := a.Nomad.ParseJob(ctx, token, d.Service.Namespace, job, variables)
	if err != nil {
		if isSentinel(err) || ctx.Err() != nil {
			return nil, nil, fmt.Errorf("parse instance: %w", err)
		}
		return nil, d.ParseErrors(err.Error()), nil // Empty if an earlier parse has reported them.
	}
	service, found := d.Complete(parsed)
	mistakes, warnings := divide(found)
	if len(mistakes) > 0 {
		return nil, mistakes, nil
	}
	c := &candidate{draft: d, service: service}
	for _, w := range warnings {
		c.warnings = append(c.warnings, w.String())
	}
	return c, nil, nil
}

// divide separates mistakes from warnings. As answers list them apart, Warning is unset.
func divide(problems []wadi.Problem) (mistakes, warnings []wadi.Problem) {
	for _, p := range problems {
		if p.Warning {
			p.Warning = false
			warnings = append(warnings, p)
		} else {
			mistakes = append(mistakes, p)
		}
	}
	return mistakes, warnings
}

const (
	maxFileName  = 1024 // Bytes: each mistake repeats it.
	maxVariables = 1000 // Of a submission, as of a file.

	maxVariableWarnings = 20
)

// bounds refuses a request without files, and one that is too large. An answer may name up
// to a hundred mistakes of each file.
func (a *Admission) bounds(r Request) error {
	switch {
	case len(r.Files) == 0:
		return badRequest("no file in what was submitted")
	case len(r.Files) > jobspecs.MaxServices:
		return tooLarge("%d files are submitted at once, at most %d may be, as each has a service; submit them in parts", len(r.Files), jobspecs.MaxServices)
	case len(r.Variables) > maxVariables:
		return tooLarge("%d variables are given, at most %d may be", len(r.Variables), maxVariables)
	}
	var total int
	seen := map[string]bool{}
	for _, f := range r.Files {
		total += len(f.Source)
		switch {
		case f.Name == "":
			return badRequest("a file has no name")
		case len(f.Name) > maxFileName || strings.ContainsFunc(f.Name, unicode.IsControl):
			return badRequest("a file has the name %.50q…; use printable characters, at most %d bytes", f.Name, maxFileName)
		case seen[f.Name]:
			return badRequest("two files are named %q", f.Name)
		}
		seen[f.Name] = true
	}
	for name, value := range r.Variables {
		total += len(name) + len(value)
	}
	if total > a.MaxBytes {
		return tooLarge("the files and variables have %d bytes together; limits.max_spec_bytes is %d", total, a.MaxBytes)
	}
	return nil
}

func badRequest(format string, args ...any) error {
	return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) error {
	return &api.Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf(format, args...)}
}

// isSentinel reports whether err is anything but Nomad's opinion of a job.
func isSentinel(err error) bool {
	return slices.ContainsFunc([]error{
		wadi.ErrUnavailable, wadi.ErrForbidden, wadi.ErrNotFound, wadi.ErrConflict, wadi.ErrTooLarge,
		context.Canceled, context.DeadlineExceeded,
	}, func(s error) bool { return errors.Is(err, s) })
}
