package scheduler

// The rules that a decision names.
const (
	RuleLoad       = "load"        // The average over the window.
	RulePanic      = "panic"       // The average over the panic window, or what panic still holds.
	RuleUpRate     = "up_rate"     // The load, cut by max_up_rate.
	RuleDownRate   = "down_rate"   // The load, held by max_down_rate.
	RuleDownDelay  = "down_delay"  // The most that was wanted lately.
	RuleActivation = "activation"  // The load, raised to the activation count.
	RuleMin        = "min"         // The lower bound.
	RuleSchedule   = "schedule"    // The lower bound by the clock.
	RuleMax        = "max"         // The upper bound.
	RuleCeiling    = "ceiling"     // The agent's upper bound.
	RuleHold       = "hold"        // What somebody asked for.
	RuleInitial    = "initial"     // The revision has not been ready yet.
	RuleIdle       = "idle"        // Idle, but not for long enough.
	RuleStarting   = "starting"    // An instance starts: it is waited for.
	RuleZero       = "zero"        // Idle for long enough.
	RuleNoWayBack  = "no_way_back" // Nothing could wake it from zero.
	RulePartial    = "partial"     // Data are missing: no lowering.
	RuleFresh      = "fresh"       // Raised later than what was measured: no lowering.
	RuleUnrouted   = "unrouted"    // No traffic goes to it.
	RuleMoving     = "moving"      // An instance sits on a node that is drained: one more.
	RuleFailed     = "failed"      // It never became ready.
	RuleInvalid    = "invalid"     // Too little is known: nothing changes.
)
