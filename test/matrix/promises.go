//go:build e2e

package matrix

import "strings"

// Proof names a test outside the matrix that proves a promise: its name and file.
type Proof struct{ Test, File string }

// Elsewhere are the proofs of what docs/architecture.md promises under "When things break"
// where a row of the matrix would say less: by the text of the row.
func Elsewhere() map[string][]Proof {
	return map[string][]Proof{
		"the leader is paused, or loses its lock unnoticed": {
			{"TestPausedLeader", "test/faults/paused_test.go"},
			{"TestDeposed_PausedLeader", "internal/store/paused_e2e_test.go"},
		},
		"all agents are down": {{"TestAgentKilled", "test/faults/agent_test.go"}},
		"a stored value can't be read: of a newer Wadi, or damaged": {
			{"TestUnreadableKeys", "test/faults/unreadable_test.go"},
		},
		"Nomad or Consul is away": {
			{"TestBackendAway_AtSubmit", "test/faults/backends_test.go"},
			{"TestConsul_Away", "test/mesh/consul_test.go"},
		},
		"an instance dies in the middle of a request": {{"TestInstanceDies", "test/dataplane/drain_test.go"}},
		"a Nomad node is drained": {
			{"TestServing_ConditionWithoutANode", "test/e2e/serving_condition_test.go"},
		},
		"a job is stopped, deleted or edited by hand": {
			{"TestFaults_JobStopped", "test/e2e/faults_job_test.go"},
			{"TestFaults_JobEdited", "test/e2e/faults_job_test.go"},
		},
		"a service that goes to zero gets a request": {{"TestZero_UnderLoad", "test/mesh/zero_test.go"}},
		"there is no way back from zero":             {{"TestActivatorAway_NoZero", "test/faults/wakeable_test.go"}},
		"an instance is slow to start":               {{"TestServing_SlowStartIsWaitedFor", "test/e2e/serving_start_test.go"}},
		"an app answers only 500":                    {{"TestAppErrors_CallersSeeThe500", "test/mesh/app_errors_test.go"}},
		"a revision failed for a reason that is mended since": {
			{"TestServing_AppliedAgain", "test/e2e/serving_resubmit_test.go"},
		},
		"a right is missing, so that Nomad or Consul answer with nothing instead of an error": {
			{"TestRemoved_EachOfThePolicies", "test/rights/removed_test.go"},
			{"TestReads_AnsweredWithNothing", "internal/store/lying_reads_test.go"},
		},
		"callers are slow, huge, many or malformed": {
			{"TestAttack_RequestFlood", "test/attacks/flood_test.go"},
			{"TestAttack_SlowClients", "test/attacks/slow_test.go"},
			{"TestAttacks", "test/smuggling/smuggling_test.go"},
		},
		"a file, a configuration or a reload is bad": {
			{"TestInput_BadSubmissions", "test/e2e/input_submit_test.go"},
			{"TestInput_AgentConfiguration", "test/e2e/input_config_test.go"},
			{"TestReload_Tokens", "test/rights/reload_test.go"},
		},
	}
}

// Promises are the first cells of the table under "When things break" of
// docs/architecture.md.
func Promises(page string) []string {
	_, section, _ := strings.Cut(page, "\n## When things break\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var all []string
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		if name := strings.TrimSpace(cells[1]); name != "fault" && strings.Trim(name, "-") != "" {
			all = append(all, name)
		}
	}
	return all
}
