package plan

import (
	"cmp"
	"slices"

	"github.com/wadi-run/wadi"
)

// Entry is one of Consul's config entries before and after, as encoding/json decodes it;
// nil: there is none.
type Entry struct {
	Kind, Name    string
	Before, After any
}

// Entries are those that a route needs, and those that it needs no more.
type Entries struct {
	All     []Entry
	Foreign []string // Entries in the way that Wadi does not manage, for instance "service-router hello".
}

// Consul compares config entries.
func Consul(e Entries) []wadi.Change {
	var out []wadi.Change
	for _, entry := range e.All {
		c := Compare(entry.Kind+` "`+entry.Name+`"`, entry.Before, entry.After)
		if c.Kind != wadi.ChangeNone {
			out = append(out, Bound(c))
		}
	}
	slices.SortStableFunc(out, func(a, b wadi.Change) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
