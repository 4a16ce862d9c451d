//go:build linux

package main

import (
	"strings"
	"testing"
)

// One mistake is not "1 mistakes".
func TestAgent_CountsMistakes(t *testing.T) {
	for config, want := range map[string]string{
		"":              "the configuration has 1 mistake; nothing was started", // It needs a queue_proxy.
		"nothing = 1\n": "the configuration has 2 mistakes; nothing was started",
	} {
		o := (&bench{}).wadiIn(t.Context(), "", nil, "agent", "-config", file(t, config))
		if o.code != exitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("got %+v, want %q", o, want)
		}
	}
}
