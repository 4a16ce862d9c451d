package admission_test

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

// Each revision outside the mesh has its own secret between agents and its instances. The
// job in Nomad does not contain it.
func TestSubmit_Proof(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/bin/a")))
	b.submit(t, request(spec("hello", "/bin/b")))
	b.submit(t, request(strings.Replace(strings.Replace(spec("meshed", "/bin/a"), `"off"`, `"envoy"`, 1), `"host"`, `"bridge"`, 1)))
	seen := map[wadi.Proof]bool{}
	for _, service := range []string{"hello", "meshed"} {
		all, err := b.store.Revisions(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		for _, rev := range all {
			job := string(rev.Job)
			if service == "meshed" {
				if rev.Proof != "" || strings.Contains(job, "WADI_PROOF") {
					t.Errorf("%s, in the mesh, has a proof", rev.ID)
				}
				continue
			}
			if len(rev.Proof) < 26 || seen[rev.Proof] {
				t.Errorf("%s has %q, want a new secret of 128 bits", rev.ID, string(rev.Proof))
			}
			seen[rev.Proof] = true
			if strings.Contains(job, string(rev.Proof)) || !strings.Contains(job, `"WADI_PROOF_SHA256":"`+rev.Proof.Digest()+`"`) {
				t.Errorf("the job of %s tells %s", rev.ID, job)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("%d secrets, want 2", len(seen))
	}
}
