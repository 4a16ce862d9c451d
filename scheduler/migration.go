package scheduler

import "strings"

// Migration is what is remembered of instances on nodes that are drained. Nomad starts the
// one in an old one's place only when that has ended; so one more is added before.
type Migration struct {
	NoPlace bool // There is no place for one more: the drain must not wait for it.
}

// Next is what is remembered when so many instances move, and Nomad says what hinders
// the revision; empty: nothing.
func (m Migration) Next(moving int, trouble string) Migration {
	return Migration{NoPlace: moving > 0 && (m.NoPlace || strings.HasPrefix(trouble, "no node fits"))}
}

// addForMigration adds an instance while others move. It does not count what is there: or what
// was added would be a reason to add more.
func (e *Evaluation) addForMigration(in *EvalInput) {
	d := &e.Decision
	if in.Migrating == 0 || in.MigrationHasNoPlace || e.base == 0 || !d.Valid {
		return
	}
	if n := min(e.base+1, topOf(in)); n > d.Desired {
		e.also(n, RuleMoving, clause{kind: clauseMigrating, n: n, m: in.Migrating})
	}
}
