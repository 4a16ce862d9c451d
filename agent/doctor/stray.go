package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// Stray is something that Wadi wrote and that no service has. Its name is for the log.
type Stray struct {
	Kind Kind
	Name string // A key, a config entry, or a job with its namespace.
}

// Kind is the kind of a stray thing.
type Kind string

// The kinds of stray things.
const (
	StrayKey   Kind = "key"
	StrayEntry Kind = "config entry"
	StrayJob   Kind = "job" // Of this installation.
	OtherJob   Kind = "job of another installation"
)

const (
	// strayAgain is the time between the two looks that a stray thing must be in: a
	// submission, or a deletion, may be half done.
	strayAgain = 2 * time.Second
	maxLogged  = 100 // Names in a line of the log.
)

// strayText says what a kind means, and what to do.
type strayText struct {
	kind            Kind
	one, many, what string
	remedy          string
}

func strayTexts() []strayText {
	return []strayText{
		{StrayKey, "key", "keys", "below the prefix in Consul that no service has", "look at them, and delete them: consul kv delete KEY"},
		{StrayEntry, "config entry", "config entries", "in Consul that Wadi wrote, for no service that there is", "if no Wadi of a joined datacenter writes them, delete them: consul config delete -kind KIND -name NAME"},
		{StrayJob, "job", "jobs", "of this installation that no service has", "the leader stops them within minutes, and its log says why if it can't; else: nomad job stop -purge JOB"},
		{OtherJob, "job", "jobs", "of another installation of Wadi: nothing here manages them", "if that one is gone, for instance with its Consul's data, stop them: nomad job stop -purge JOB; else leave them alone"},
	}
}

// checkStray looks twice for what belongs to no service.
func (c *Cluster) checkStray(ctx context.Context) []wadi.Finding {
	first, err := c.Stray(ctx)
	if err == nil && len(first) > 0 {
		var second []Stray
		if err = wadi.Sleep(ctx, strayAgain); err == nil {
			second, err = c.Stray(ctx)
		}
		first = slices.DeleteFunc(first, func(s Stray) bool { return !slices.Contains(second, s) })
	}
	switch {
	case errors.Is(err, wadi.ErrForbidden):
		return nil // A missing right has a finding of its own.
	case err != nil:
		return []wadi.Finding{{Level: wadi.LevelWarn, About: "left behind", What: "it can't be looked for: " + err.Error(), Remedy: "ask again when Nomad and Consul answer"}}
	}
	c.logStray(first)
	return aboutStray(first)
}

// logStray logs the names, once until they change.
func (c *Cluster) logStray(all []Stray) {
	for _, t := range strayTexts() {
		c.logNew(t.kind, namesOf(all, t.kind), "left behind: no service has them")
	}
}

// logNew logs names of a kind, once until they change.
func (c *Cluster) logNew(kind Kind, names []string, message string) {
	c.logging.Lock()
	defer c.logging.Unlock()
	if len(names) > 0 && !slices.Equal(c.logged[kind], names) {
		c.Log.Warn(message, "kind", string(kind), "count", len(names), "names", names[:min(len(names), maxLogged)])
	}
	if c.logged == nil {
		c.logged = map[Kind][]string{}
	}
	c.logged[kind] = names
}

func aboutStray(all []Stray) (out []wadi.Finding) {
	for _, t := range strayTexts() {
		if count := len(namesOf(all, t.kind)); count > 0 {
			out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: "left behind", Remedy: t.remedy,
				What: fmt.Sprintf("%d %s %s; the agent's log names them", count, wadi.Plural(count, t.one, t.many), t.what)})
		}
	}
	return out
}

func namesOf(all []Stray, kind Kind) (out []string) {
	for _, s := range all {
		if s.Kind == kind {
			out = append(out, s.Name)
		}
	}
	slices.Sort(out)
	return out
}
