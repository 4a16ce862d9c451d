package jobspecs

import (
	"encoding/json"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
)

// maxSecrets bounds the secrets of an instance that are reported.
const maxSecrets = 20

// secrets refuses what is certainly a secret, and warns of what likely is. It reads the group
// as Nomad made it, whatever expressions, variables or patches it comes from, and before
// anything but Nomad's parser has seen it.
func (f *groupChecker) secrets(group object) {
	data, err := json.Marshal(group)
	if err != nil {
		return // Complete reports it.
	}
	for _, s := range first(secrets.In(data, "instance")) {
		if s.Certain {
			f.add(s.Path, s.Message)
		} else {
			f.warn(s.Path, s.Message)
		}
	}
}

// first are at most maxSecrets findings, the certain ones before all guesses.
func first(all []secrets.Finding) []secrets.Finding {
	slices.SortStableFunc(all, func(a, b secrets.Finding) int {
		switch {
		case a.Certain == b.Certain:
			return 0
		case a.Certain:
			return -1
		}
		return 1
	})
	return all[:min(len(all), maxSecrets)]
}

// secrets refuses what is certainly a secret in a task of the agent's configuration, which is
// a part of every job.
func (r *taskReader) secrets(task json.RawMessage, path string, fallback hcl.Range) {
	for _, s := range secrets.Certain(secrets.InTask(task, path)) {
		rng := fallback
		for p := s.Path; p != ""; p = parent(p) {
			if at, ok := r.ranges[p]; ok {
				rng = at
				break
			}
		}
		r.addf(rng, s.Path, "a secret stands here, and every revision's job would have it, for all who may read that; let the clients have it, as by auth { config } of their Docker plugin (docs/secrets.md)")
	}
}

// Secrets are the warnings about what is likely a secret in a stored service, which Wadi
// would refuse or warn of if it were submitted now.
func Secrets(s wadi.Service) (warnings []string) {
	for _, found := range first(secrets.In(s.Instance, "instance")) {
		warnings = append(warnings, found.Path+": "+found.Message)
	}
	return warnings
}
