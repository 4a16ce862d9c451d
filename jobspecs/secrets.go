package jobspecs

import (
	"encoding/json"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
)

// maxSecrets bounds the secrets of an instance that are reported.
const maxSecrets = 20

// secrets refuses what is certainly a secret, and warns of what likely is. It reads the instance
// as Nomad made it, whatever expressions, variables or patches it comes from, and before
// anything but Nomad's parser has seen it.
func (f *groupChecker) secrets(service wadi.Service) {
	for _, s := range secrets.First(secrets.Of(service), maxSecrets) {
		switch {
		case !strings.HasPrefix(s.Path, "instance."):
			p := f.draft.near(s.Path, s.Message)
			p.Warning = !s.Certain
			f.problems = append(f.problems, p)
		case s.Certain:
			f.add(s.Path, s.Message)
		default:
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
