// Package scheduler holds every decision of Wadi: how many instances a revision
// should have ([Windows], [Decide], [Evaluate]), how one leaves zero ([Wake]),
// and which steps bring a service closer to what was submitted ([Plan]).
//
// It promises to be pure: arguments in, values out, the time among them. It
// refuses clocks, I/O, logging, goroutines and the order of maps, so that a
// decision can be replayed from what it was made from.
//
// Scaling goes in three steps. [Windows] measures: it turns the per-second
// reports of a revision's sources into averages that count a request once,
// wherever it is. [Decide] is the autoscaler proper, Knative's KPA, without
// bounds. [Evaluate] adds what comes after: bounds, the way to zero, data that is
// missing, holds, and a reason in words.
package scheduler
