// Package scheduler holds every decision of Wadi: how many instances a revision should
// have ([Windows], [Decide], [Evaluate]), which instances are drained before a count is
// lowered ([PlanScaleDown]), how a revision leaves zero ([Wake]), and which steps bring a
// service closer to what was submitted ([Plan]).
//
// It promises to be pure: arguments in, values out, the time among them. It refuses
// clocks, I/O, logging, goroutines and the order of maps, so a decision can be replayed
// from its input.
//
// Scaling has three steps. [Windows] measures: it turns the per-second reports of a
// revision's sources into averages that count a request once, wherever it is. [Decide] is
// Knative's KPA, without bounds (kpa.go). [Evaluate] asks it for each metric and adds
// bounds, schedules, overrides, the rules for scale to zero, missing data and an
// explanation (evaluate*.go).
package scheduler
