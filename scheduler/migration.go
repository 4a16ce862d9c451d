package scheduler

import "strings"

// Migration is the memory about instances on draining nodes. Nomad starts a replacement
// only after the old instance has ended; so the autoscaler adds an instance first.
type Migration struct {
	NoPlace bool // No node fits one more instance: the node's drain must not wait for it.
}

// Next is the memory at the next evaluation, given how many instances migrate and the
// diagnosis of the revision (empty: none).
func (m Migration) Next(moving int, diagnosis string) Migration {
	return Migration{NoPlace: moving > 0 && (m.NoPlace || strings.HasPrefix(diagnosis, "no node fits"))}
}

// addForMigration adds one instance while others migrate. It adds to the base count and
// not to the current one: else each evaluation would add another.
func (e *Evaluation) addForMigration(in *EvalInput) {
	d := &e.Decision
	if in.Migrating == 0 || in.MigrationHasNoPlace || e.base == 0 || !d.Valid {
		return
	}
	if n := min(e.base+1, topOf(in)); n > d.Desired {
		e.also(n, RuleMoving, clause{kind: clauseMigrating, n: n, m: in.Migrating})
	}
}
