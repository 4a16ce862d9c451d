package doctor

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

func TestAboutNomadVersions(t *testing.T) {
	for name, tt := range map[string]struct {
		servers map[string]string
		warns   string
	}{
		"none is told":  {nil, ""},
		"new":           {map[string]string{"a": "2.0.1", "b": "2.1.0"}, ""},
		"no version":    {map[string]string{"a": "dev"}, ""},
		"old":           {map[string]string{"a": "1.11.3"}, "its version is 1.11.3; before 2.0.1"},
		"old among new": {map[string]string{"a": "2.0.5", "b": "2.0.0", "c": "1.11.3", "d": "2.0.0"}, "its version is 2.0.0, 1.11.3; before 2.0.1"},
	} {
		got := aboutNomadVersions(tt.servers)
		switch {
		case tt.warns == "" && len(got) == 0:
		case tt.warns == "" || len(got) != 1 || got[0].Level != wadi.LevelWarn || !strings.HasPrefix(got[0].What, tt.warns):
			t.Errorf("%s: got %+v, want %q", name, got, tt.warns)
		}
	}
}
