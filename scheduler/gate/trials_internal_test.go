package gate

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wadi-run/wadi"
)

var trialsFlag = flag.Int("trials", 60, "simulated rollout steps of each kind")

// simulated is one step of a rollout: requests come in, the new revision gets a part of them,
// and the step is judged again and again until it is decided.
type simulated struct {
	name     string
	old, new float64 // Shares that fail.
	part     float64 // That the new revision gets.
}

// outcome plays the step, at most until the new revision has had most requests. It returns how many it had.
func (s simulated) outcome(rng *rand.Rand, most float64) (Decision, float64) {
	rule := wadi.Rollout{MaxErrorPercent: 1}
	before, after := map[string]uint64{}, map[string]uint64{}
	had := 0.0
	for had < most {
		batch := max(5, had*0.04) // Looks of any rate: each has a little more than the one before.
		had += batch
		draw(rng, after, batch, s.new)
		draw(rng, before, batch*(1-s.part)/s.part, s.old)
		if d := decide(findings(rule, wadi.Outcomes{Codes: before}, wadi.Outcomes{Codes: after})); d != Wait {
			return d, had
		}
	}
	return Wait, had
}

// draw adds so many answers of which a share fails, by chance.
func draw(rng *rand.Rand, into map[string]uint64, n, fails float64) {
	failed := binomial(rng, int(math.Round(n)), fails)
	into["503"] += uint64(failed)
	into["200"] += uint64(int(math.Round(n)) - failed)
}

func binomial(rng *rand.Rand, n int, p float64) (k int) {
	if float64(n)*p*(1-p) > 100 {
		return min(n, max(0, int(math.Round(float64(n)*p+rng.NormFloat64()*math.Sqrt(float64(n)*p*(1-p))))))
	}
	for i := 0; p > 0; k++ { // From failure to failure.
		i += 1 + int(math.Log(1-rng.Float64())/math.Log1p(-p))
		if i > n {
			break
		}
	}
	return k
}

// How often a step goes on or back by mistake, with 1 % allowed, however often it is judged: ADR 30 has the
// figures of -trials 1000.
func TestJudge_OperatingCharacteristics(t *testing.T) {
	for _, tt := range []struct {
		simulated
		back, goOn [2]float64 // Least and most share of the trials.
		requests   float64    // Most that the new revision has on average.
	}{
		{simulated{"as good, no errors", 0, 0, .01}, [2]float64{0, 0}, [2]float64{1, 1}, 320},
		{simulated{"as good, 0.1 % fail", .001, .001, .1}, [2]float64{0, .01}, [2]float64{.99, 1}, 520},
		{simulated{"as good, 2 % fail", .02, .02, .1}, [2]float64{0, .02}, [2]float64{.97, 1}, 1500},
		{simulated{"as good, 2 % fail, half each", .02, .02, .5}, [2]float64{0, .02}, [2]float64{.97, 1}, 2500},
		{simulated{"half of the limit worse", .001, .006, .1}, [2]float64{0, .02}, [2]float64{.97, 1}, 3000},
		{simulated{"as bad as the limit", 0, .01, .1}, [2]float64{0, .03}, [2]float64{0, 1}, 12000},
		{simulated{"twice the limit", 0, .02, .1}, [2]float64{.75, 1}, [2]float64{0, .25}, 2500},
		{simulated{"3 % fail", 0, .03, .1}, [2]float64{.95, 1}, [2]float64{0, .05}, 900},
		{simulated{"5 % fail", 0, .05, .1}, [2]float64{.99, 1}, [2]float64{0, .01}, 300},
		{simulated{"5 % fail of 1 % of the requests", .001, .05, .01}, [2]float64{.99, 1}, [2]float64{0, .01}, 300},
		{simulated{"half fail", .001, .5, .1}, [2]float64{1, 1}, [2]float64{0, 0}, 30},
	} {
		rng := rand.New(rand.NewPCG(15, 30)) // The same trials each time.
		back, goOn, requests := 0.0, 0.0, 0.0
		trials := float64(*trialsFlag)
		for range *trialsFlag {
			d, had := tt.outcome(rng, 20_000)
			requests += had / trials
			switch d {
			case Back:
				back += 1 / trials
			case GoOn:
				goOn += 1 / trials
			}
		}
		t.Logf("%-32s back %5.1f %%  on %5.1f %%  undecided %4.1f %%  after %6.0f requests of the new", tt.name, 100*back, 100*goOn, 100*max(0, 1-back-goOn), requests)
		const rounding = 1e-9
		if back < tt.back[0]-rounding || back > tt.back[1]+rounding || goOn < tt.goOn[0]-rounding || goOn > tt.goOn[1]+rounding || requests > tt.requests {
			t.Errorf("%s: %.3f went back, want %v; %.3f went on, want %v; %.0f requests, want %.0f", tt.name, back, tt.back, goOn, tt.goOn, requests, tt.requests)
		}
	}
}
