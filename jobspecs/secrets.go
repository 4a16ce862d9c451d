package jobspecs

import (
	"encoding/json"

	"github.com/hashicorp/hcl/v2"

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
	for _, s := range secrets.First(secrets.In(data, "instance"), maxSecrets) {
		if s.Certain {
			f.add(s.Path, s.Message)
		} else {
			f.warn(s.Path, s.Message)
		}
	}
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
