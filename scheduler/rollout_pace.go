package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	firstShare   = wadi.WeightAll / 100 // Of the targets "latest": what a revision begins with.
	stepsMost    = 99                   // After the first, unless the service says how many: of 1 % each.
	leastRollout = wadi.WeightAll / 100 // Targets "latest" with no more of the traffic than that are not rolled out.
)

// paceOf is how many steps follow the first one, and how far apart they are. It is Knative's
// algorithm (pkg/reconciler/route/traffic/rollout.go): there are as many as the duration has
// room for if each takes as long as the network layers took for the first, in whole seconds;
// or as long as a step is held. Knative rounds the size of a step to a whole percent, and so
// may end much earlier or later than the duration; here steps are even to a hundredth.
func paceOf(r *wadi.Rollout, took time.Duration) (steps int, interval time.Duration) {
	one := max(time.Second, (took + time.Second - 1).Truncate(time.Second))
	rest := max(time.Second, r.Duration.D()-one)
	steps = r.Steps
	if steps <= 0 {
		steps = min(max(1, int(rest/max(one, r.Hold.D()))), stepsMost)
	}
	steps = min(steps, wadi.WeightAll-firstShare)
	return steps, rest / time.Duration(steps)
}

// nextShare is the share after the next of steps, of which share was the result of one.
func nextShare(share, steps int) int {
	for i := range steps + 1 {
		if s := shareAfter(i, steps); s > share {
			return s
		}
	}
	return wadi.WeightAll
}

// stepOf is the number of the step whose result is share: 1 for the first; 0: none was taken.
func stepOf(share, steps int) (n int) {
	for n <= steps && shareAfter(n, steps) <= share {
		n++
	}
	return n
}

func shareAfter(step, steps int) int {
	return firstShare + (wadi.WeightAll-firstShare)*step/steps
}

// grown are shares in which the first, of the revision that takes over, has become to. What
// it gains is taken from the newest others first.
func grown(shares []wadi.RolloutShare, to int) []wadi.RolloutShare {
	out := slices.Clone(shares)
	gain := to - out[0].Weight
	out[0].Weight = to
	for i := 1; i < len(out) && gain > 0; i++ {
		taken := min(gain, out[i].Weight)
		out[i].Weight -= taken
		gain -= taken
	}
	for i := len(out) - 1; i > 0; i-- {
		if out[i].Weight == 0 {
			out = slices.Delete(out, i, i+1)
		}
	}
	return out
}

// split divides a weight by shares. The parts sum to it exactly, and while the first share
// grows so that the newest others shrink, no part of an other grows.
func split(weight int, shares []wadi.RolloutShare) []int {
	parts, sum, done := make([]int, len(shares)), 0, 0
	for i, s := range shares {
		sum += s.Weight
		upTo := (weight*sum + wadi.WeightAll/2) / wadi.WeightAll
		parts[i], done = upTo-done, upTo
	}
	return parts
}

// sharesOf are weights as shares that sum to [wadi.WeightAll], newest revision first.
func sharesOf(weights map[string]int, revs []wadi.Revision) []wadi.RolloutShare {
	total, sum, done := 0, 0, 0
	for _, w := range weights {
		total += w
	}
	var out []wadi.RolloutShare
	for _, r := range slices.Backward(revs) {
		if weights[r.ID] <= 0 {
			continue
		}
		sum += weights[r.ID]
		upTo := (sum*wadi.WeightAll + total/2) / total
		out, done = append(out, wadi.RolloutShare{Revision: r.ID, Weight: upTo - done}), upTo
	}
	return out
}

// largest is the revision with the largest of shares that are ordered newest first, the
// newest among equals.
func largest(shares []wadi.RolloutShare) string {
	if len(shares) == 0 {
		return ""
	}
	return slices.MaxFunc(shares, func(a, b wadi.RolloutShare) int { return cmp.Compare(a.Weight, b.Weight) }).Revision
}
