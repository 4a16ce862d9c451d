package survey_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/internal/survey"
)

func TestNewer(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"1.10.0", "1.9.9", true}, {"1.9.9", "1.10.0", false}, {"2.0.0", "2.0.0", false}, {"v1.36.4", "1.36.3", true},
		{"2.0.0-beta.1+ent", "1.11.3", true}, {"1.10", "1.9", true}, {"dev", "1.0.0", false}, {"1.0.0", "", false}, {"1", "0", false},
		{"99999999999999999999.1", "1.0", false}, {"1.-2", "0.1", false},
	} {
		if got := survey.Newer(tt.a, tt.b); got != tt.want {
			t.Errorf("%s newer than %s: %t", tt.a, tt.b, got)
		}
	}
}

func TestTooOld(t *testing.T) {
	var n survey.Nomad
	for _, v := range []string{"1.9.9", "1.10.0", "1.9.9", "0.12.1", "x"} {
		n.Servers.Value = append(n.Servers.Value, survey.Server{Version: v})
	}
	if got := n.TooOld(); !slices.Equal(got, []string{"1.9.9", "0.12.1"}) {
		t.Errorf("got %v", got)
	}
	for v, want := range map[string]string{"1.17.3": "1.17.3", "1.18.0": "", "": "", "1.22.7": ""} {
		var c survey.Consul
		if c.Agent.Value.Version = v; c.TooOld() != want {
			t.Errorf("%s: got %q", v, c.TooOld())
		}
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if want := "Nomad " + survey.OldestNomad + " or newer, and Consul " + survey.OldestConsul + " or newer"; err != nil || !strings.Contains(string(page), want) {
		t.Errorf("docs/operations.md does not say %q (%v)", want, err)
	}
}
