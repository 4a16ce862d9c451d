package control

import (
	"maps"
	"sync"
)

// Owned remembers which modify indexes of jobs are known to stand for what was
// stored, so that this agent's own changes are not taken for edits.
type Owned struct {
	mu      sync.Mutex
	made    map[string]uint64 // By this agent, of whatever there was.
	stored  map[string]uint64 // Made by this agent of what was stored.
	adopted map[string]uint64 // Made by another program or agent, and found to be no drift.
}

// Add notes that index is the revision's job's since this agent registered what is stored.
func (o *Owned) Add(revision string, index uint64) {
	o.note(&o.made, revision, index)
	o.note(&o.stored, revision, index)
}

// Scaled notes that this agent changed the count of the revision's job. All else is what
// it was at the index from: as it was stored, if that is known of that very index. What is
// known of a later one says nothing: before Nomad 2.0.1 a change that names an older index
// may come last, and bring back what was there then.
func (o *Owned) Scaled(revision string, from, index uint64) {
	if o.isStored(revision, from) {
		o.note(&o.stored, revision, index)
	}
	o.note(&o.made, revision, index)
}

// Adopt notes that the job at index is as it was stored, by whatever change it got there.
func (o *Owned) Adopt(revision string, index uint64) { o.note(&o.adopted, revision, index) }

// isStored reports whether the revision's job at index is known to be as stored.
func (o *Owned) isStored(revision string, index uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return index > 0 && (index == o.stored[revision] || index == o.adopted[revision])
}

func (o *Owned) note(m *map[string]uint64, revision string, index uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if *m == nil {
		*m = map[string]uint64{}
	}
	(*m)[revision] = max((*m)[revision], index)
}

// Reread notes at which index a full read found the revision's job. It forgets later
// ones: Nomad was restored to an earlier state, and will give them again. If a later one
// was only given while the read was made, its job is compared once more with what was
// stored.
func (o *Owned) Reread(revision string, index uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range []map[string]uint64{o.made, o.stored, o.adopted} {
		if known[revision] > index {
			delete(known, revision)
		}
	}
}

// Index is the latest index at which the revision's job is known to be as stored.
func (o *Owned) Index(revision string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(o.stored[revision], o.adopted[revision])
}

// Made is the latest index that a change of this agent gave to the revision's job.
func (o *Owned) Made(revision string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.made[revision]
}

// Keep drops what is known of revisions that are not to stay. A leader forgets each revision
// as it removes it; other agents, which note their wakes here, learn only from the routes
// that revisions are gone.
func (o *Owned) Keep(stays func(revision string) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range []map[string]uint64{o.made, o.stored, o.adopted} {
		maps.DeleteFunc(known, func(revision string, _ uint64) bool { return !stays(revision) })
	}
}

// Len is the number of revisions of which something is known.
func (o *Owned) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := maps.Clone(o.made)
	if all == nil {
		all = map[string]uint64{}
	}
	maps.Copy(all, o.stored)
	maps.Copy(all, o.adopted)
	return len(all)
}

// Forget drops what is known of a revision.
func (o *Owned) Forget(revision string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.made, revision)
	delete(o.stored, revision)
	delete(o.adopted, revision)
}
