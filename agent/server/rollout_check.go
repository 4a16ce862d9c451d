package server

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/scheduler/gate"
)

// Outcomes is what is known of a revision's answers since a time.
type Outcomes struct {
	wadi.Outcomes
	From            time.Time // Since when they count.
	Unknown         string    // Why not all is known; empty: all is.
	InstanceSeconds float64
}

// Bounds of the time that is compared.
const (
	defaultCheck = 10 * time.Minute
	minCheck     = 10 * time.Second
	maxCheck     = 24 * time.Hour
)

// checkRollout answers with what the revisions of a service have answered, side by side, and
// what the gate concludes from it. Only the leader knows.
func (s *Server) checkRollout(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	spec, _, err := s.spec(r, name)
	if err != nil {
		return err
	}
	since, err := checkSince(r.URL.Query().Get("since"))
	if err != nil {
		return err
	}
	if done, err := s.toLeader(w, r); done {
		return err
	}
	if s.Outcomes == nil {
		return unavailable("this agent keeps no outcomes")
	}
	st, err := s.status(r.Context(), name)
	if err != nil {
		return err
	}
	check := api.RolloutCheck{Service: name, Since: time.Now().Add(-since), Revisions: []api.RevisionOutcomes{}}
	known := map[string]Outcomes{}
	for _, rev := range st.Revisions {
		o, leads := s.Outcomes(rev.ID, check.Since)
		if !leads {
			return unavailable("this agent leads no more")
		}
		if rev.Percent > 0 || !o.IsZero() || o.InstanceSeconds > 0 {
			known[rev.ID] = o
			check.Revisions = append(check.Revisions, revisionOutcomes(rev, o, errorCodes(spec.Service.Rollout)))
		}
	}
	slices.SortFunc(check.Revisions, func(a, b api.RevisionOutcomes) int { return cmp.Compare(number(b.Revision), number(a.Revision)) })
	check.After, check.Before = compared(st.Rollout, check.Revisions)
	check.Decision, check.Reason = judge(spec.Service.Rollout, check, known)
	return s.reply(w, http.StatusOK, check)
}

// number is that of a revision.
func number(revision string) int {
	_, n, _ := wadi.SplitRevisionID(revision)
	return n
}

func checkSince(text string) (time.Duration, error) {
	if text == "" {
		return defaultCheck, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < minCheck || d > maxCheck {
		return 0, badInput("since must be a duration from %s to %s, such as 10m, not %.40q", wadi.Duration(minCheck).Short(), wadi.Duration(maxCheck).Short(), text)
	}
	return d, nil
}

func errorCodes(rollout *wadi.Rollout) []string {
	if rollout == nil {
		return nil
	}
	return rollout.ErrorCodes
}

func revisionOutcomes(rev wadi.RevisionStatus, o Outcomes, errors []string) api.RevisionOutcomes {
	out := api.RevisionOutcomes{
		Revision: rev.ID, Percent: rev.Percent,
		Requests: o.Requests(), Errors: o.Errors(errors), CallersGone: o.Codes[wadi.CodeCallerGone], Codes: o.Codes,
		P50: wadi.Duration(o.Quantile(0.5)), P99: wadi.Duration(o.Quantile(0.99)),
		ColdStarts: o.ColdStarts, InstanceSeconds: o.InstanceSeconds, From: o.From, Unknown: o.Unknown,
	}
	if out.Codes == nil {
		out.Codes = map[string]uint64{}
	}
	return out
}

// compared are the revisions that a gate compares: those of the rollout, or else the newest and
// the one of the others that has the most traffic.
func compared(rollout *wadi.RolloutStatus, all []api.RevisionOutcomes) (after, before string) {
	if len(all) == 0 {
		return "", ""
	}
	if rollout != nil && rollout.Phase.UnderWay() {
		return rollout.Revision, rollout.From
	}
	most := 0.0
	for _, r := range all[1:] {
		if r.Percent > most {
			before, most = r.Revision, r.Percent
		}
	}
	if before == "" && len(all) > 1 {
		before = all[1].Revision
	}
	return all[0].Revision, before
}

// judge is what the gate concludes, and why.
func judge(rollout *wadi.Rollout, check api.RolloutCheck, known map[string]Outcomes) (decision, reason string) {
	switch {
	case check.After == "":
		return "", "no revision has had requests or instances"
	case !rollout.Gated():
		return "", "the service's rollout has no gate: max_error_percent and max_p99 make one"
	case check.Before == "":
		return "", "there is no other revision to compare with"
	}
	for _, id := range []string{check.After, check.Before} {
		if o := known[id]; o.Unknown != "" {
			return "", fmt.Sprintf("not all is known of %s: %s", id, o.Unknown)
		}
	}
	v := gate.Judge(*rollout, known[check.Before].Outcomes, known[check.After].Outcomes)
	return string(v.Decision), v.Reason
}
