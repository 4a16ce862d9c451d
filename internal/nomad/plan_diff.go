package nomad

import (
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// changeOf is Nomad's diff of a job without what does not differ. Nomad's annotations of
// tasks and fields are left out: they say what happens to running instances of the same
// job, and each revision has a job of its own.
func changeOf(d *api.JobDiff) wadi.Change {
	if d == nil {
		return wadi.Change{Kind: wadi.ChangeNone}
	}
	c := wadi.Change{Name: wadi.JobPart(wadi.PartJob, d.ID), Changes: append(fieldChanges(d.Fields), objectChanges(d.Objects)...)}
	for _, g := range d.TaskGroups {
		group := wadi.Change{Name: wadi.JobPart(wadi.PartGroup, g.Name), Changes: append(fieldChanges(g.Fields), objectChanges(g.Objects)...)}
		for _, t := range g.Tasks {
			task := wadi.Change{Name: wadi.JobPart(wadi.PartTask, t.Name), Changes: append(fieldChanges(t.Fields), objectChanges(t.Objects)...)}
			group.Changes = appendChange(group.Changes, t.Type, task)
		}
		c.Changes = appendChange(c.Changes, g.Type, group)
	}
	if all := appendChange(nil, d.Type, c); len(all) > 0 {
		return all[0]
	}
	return wadi.Change{Kind: wadi.ChangeNone, Name: c.Name}
}

func objectChanges(all []*api.ObjectDiff) []wadi.Change {
	var out []wadi.Change
	for _, o := range all {
		out = appendChange(out, o.Type, wadi.Change{Name: o.Name, Changes: append(fieldChanges(o.Fields), objectChanges(o.Objects)...)})
	}
	return out
}

func fieldChanges(all []*api.FieldDiff) []wadi.Change {
	var out []wadi.Change
	for _, f := range all {
		if kind := kindOf(f.Type); kind != wadi.ChangeNone {
			out = append(out, wadi.Change{Kind: kind, Name: f.Name, Old: f.Old, New: f.New})
		}
	}
	return out
}

// appendChange appends a part, unless it is the same. Nomad calls a job edited when only
// settings that it filled in itself differ: the scaling block then is an edited object
// without an edited field. So the leaves decide, not the top.
func appendChange(to []wadi.Change, kind string, c wadi.Change) []wadi.Change {
	c.Kind = kindOf(kind)
	if c.Kind == wadi.ChangeNone || c.Kind == wadi.ChangeEdited && len(c.Changes) == 0 {
		return to
	}
	return append(to, c)
}

// kindOf translates "Added", "Deleted", "Edited" and "None".
func kindOf(kind string) wadi.ChangeKind {
	switch k := wadi.ChangeKind(strings.ToLower(kind)); k {
	case wadi.ChangeAdded, wadi.ChangeDeleted, wadi.ChangeEdited:
		return k
	}
	return wadi.ChangeNone
}
