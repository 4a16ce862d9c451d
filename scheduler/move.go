package scheduler

import "strings"

// Move is what is remembered of instances on nodes that are drained. Nomad starts the
// one in an old one's place only when that has ended; so one more is added before.
type Move struct {
	InVain bool // There is no place for one more: the drain must not wait for it.
}

// Next is what is remembered when so many instances move, and Nomad says what hinders
// the revision; empty: nothing.
func (m Move) Next(moving int, trouble string) Move {
	return Move{InVain: moving > 0 && (m.InVain || strings.HasPrefix(trouble, "no node fits"))}
}

// oneMore adds an instance while others move. It does not count what is there: or what
// was added would be a reason to add more.
func (e *Evaluation) oneMore(in *EvalInput) {
	d := &e.Decision
	if in.Moving == 0 || in.MoveInVain || e.base == 0 || !d.Valid {
		return
	}
	if n := min(e.base+1, topOf(in)); n > d.Desired {
		e.also(n, RuleMoving, part{say: sayMoving, n: n, m: in.Moving})
	}
}
