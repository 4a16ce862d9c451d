//go:build e2e

// Package doctor_test makes what the doctor looks for true on a real Nomad and Consul with
// ACLs, and starts agents with what wadi init writes for them.
package doctor_test

import (
	"encoding/json"
	"strings"
	"testing"

	"errors"
	"fmt"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack is shared by all tests. Its agents have the least policies, and use client agents of
// Nomad and Consul.
var stack *harnesstest.Stack

func TestMain(m *testing.M) {
	harnesstest.Main(m, &stack, harnesstest.Options{Stack: harness.Options{ACLs: true}})
}

// finding is a finding of the doctor.
type finding struct{ Level, About, What, Remedy string }

// doctor is what an agent's doctor finds.
func doctor(t *testing.T, a *harness.Agent) []finding {
	t.Helper()
	ran, err := a.Wadi(t.Context(), "", "doctor", "-json")
	harnesstest.Must(t, "run the doctor", err)
	var out struct{ Findings []finding }
	if err := json.Unmarshal([]byte(ran.Stdout), &out); err != nil {
		t.Fatalf("doctor: %v: %s", err, ran)
	}
	return out.Findings
}

// finds waits until the doctor finds something with these texts, and has a remedy for it.
func finds(t *testing.T, a *harness.Agent, level, about, what string) finding {
	t.Helper()
	var found finding
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		all := doctor(t, a)
		for _, f := range all {
			if f.Level == level && strings.HasSuffix(f.About, about) && strings.Contains(f.What, what) {
				found = f
				return nil
			}
		}
		return fmt.Errorf("no %s about %s with %q in %+v", level, about, what, all)
	})
	if found.Remedy == "" {
		t.Errorf("no remedy: %+v", found)
	}
	return found
}

// findsNot waits until the doctor does not find it any more.
func findsNot(t *testing.T, a *harness.Agent, about, what string) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		for _, f := range doctor(t, a) {
			if strings.HasSuffix(f.About, about) && strings.Contains(f.What, what) {
				return errors.New("it still finds " + f.What)
			}
		}
		return nil
	})
}
