package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// The last pushed is stopped first, each once, also in two steps.
func TestStack(t *testing.T) {
	s := &stack{log: hclog.NewNullLogger()}
	var stopped []string
	for _, name := range []string{"one", "two", "three", "four"} {
		s.push(name, func() { stopped = append(stopped, name) })
	}
	if diff := cmp.Diff([]string{"four", "three", "two", "one"}, s.order()); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	s.stopAbove("two")
	s.stopAbove("two")
	if diff := cmp.Diff([]string{"four", "three"}, stopped); diff != "" {
		t.Errorf("above two (-want +got):\n%s", diff)
	}
	s.stopAbove("")
	s.stopAbove("")
	if diff := cmp.Diff([]string{"four", "three", "two", "one"}, stopped); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
}
