package scheduler

// The rules that a decision names.
const (
	RuleLoad        = "load"         // The average over the window.
	RulePanic       = "panic"        // The average over the panic window, or the highest count of this panic.
	RuleUpRate      = "up_rate"      // The load, cut by max_up_rate.
	RuleDownRate    = "down_rate"    // The load, raised to what max_down_rate permits.
	RuleDownDelay   = "down_delay"   // The highest count wanted within down_delay.
	RuleActivation  = "activation"   // The load, raised to the activation count.
	RuleMin         = "min"          // The lower bound.
	RuleSchedule    = "schedule"     // The lower bound by the clock.
	RuleMax         = "max"          // The upper bound.
	RuleCeiling     = "ceiling"      // The agent's upper bound.
	RuleOverride    = "override"     // The count that a caller asked for.
	RuleInitial     = "initial"      // The revision has not been ready yet.
	RuleWarming     = "warming"      // Its share of the traffic grows: the instances come first.
	RuleIdle        = "idle"         // Idle, but not for long enough.
	RuleStarting    = "starting"     // An instance is starting: no zero yet.
	RuleZero        = "zero"         // Idle for long enough.
	RuleNotWakeable = "not_wakeable" // Nothing could wake it from zero.
	RulePartial     = "partial"      // Data are missing: the count is not lowered.
	RuleFresh       = "fresh"        // The data are older than the last raise: the count is not lowered.
	RuleUnrouted    = "unrouted"     // No traffic goes to it.
	RuleMoving      = "moving"       // An instance is on a draining node: one more.
	RulePull        = "pull"         // Its image could not be had: it is not asked for again yet.
	RuleFailed      = "failed"       // It never became ready.
	RuleInvalid     = "invalid"      // Too little data: nothing changes.
)
