package admission

import (
	"fmt"
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// refusals collects the mistakes of several services.
type refusals struct {
	conflict bool
	details  []wadi.Problem
}

// invalid adds a mistake at a setting of the candidate's file.
func (r *refusals) invalid(c *candidate, path, format string, args ...any) {
	if c.draft == nil { // It is an order, without a file.
		r.details = append(r.details, wadi.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
		return
	}
	r.details = append(r.details, c.draft.At(path, format, args...))
}

// clash adds a mistake that comes from the stored state.
func (r *refusals) clash(c *candidate, path, format string, args ...any) {
	r.conflict = true
	r.invalid(c, path, format, args...)
}

// err is the refusal of all mistakes; nil: there are none.
func (r *refusals) err() error {
	switch {
	case len(r.details) == 0:
		return nil
	case r.conflict:
		return &api.Error{Status: http.StatusConflict, Message: "conflict with what is stored", Details: r.details}
	}
	return &api.Error{Status: http.StatusUnprocessableEntity, Message: "refused", Details: r.details}
}
