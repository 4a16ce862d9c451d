package main

import (
	"strings"
	"testing"
)

func TestScaleReplay(t *testing.T) {
	b := newBench(t)
	stdin := `{"config": {"target_value": 70}, "ready_at_start": 1}
{"t_s": 2, "stable": 20, "panic": 20, "ready": 1}
`
	b.wadiIn(t.Context(), stdin, nil, "scale", "replay").want(t, 0, `{"t_s":2,"desired":1,"excess_burst":0,"panicking":false,"valid":true,"reason":"20 requests at once on average over 60s, 70 wanted per instance: 1 instance"}`+"\n", "")
	stdin += "{\"t_s\": 4\n"
	if o := b.wadiIn(t.Context(), stdin, nil, "scale", "replay"); o.code != 1 || !strings.Contains(o.stderr, "Error: line 3: the JSON ends before it is complete") || strings.Count(o.stdout, "\n") != 1 {
		t.Errorf("got %+v", o)
	}
	if o := b.wadi(t, "scale", "replay", "extra"); o.code != 2 {
		t.Errorf("got %+v", o)
	}
}
