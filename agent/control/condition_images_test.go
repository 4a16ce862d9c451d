package control_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

// A revision whose image has no digest has a condition and one event that say why. The
// condition ends with the next revision that has one.
func TestImages_UnresolvedOnesAreReported(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		c.images = []wadi.Image{
			{Task: "web", Name: "a:1", Warning: "no answer"}, {Task: wadi.TaskQueueProxy, Name: "b:1", Warning: "not asked"},
		}
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(40 * time.Second)
		status := func() wadi.Status {
			s, err := c.Load(t.Context(), "hello")
			if err != nil {
				t.Fatal(err)
			}
			return s.Status
		}
		var got []string
		for _, cond := range status().Conditions {
			if cond.Type == control.ConditionImages && !cond.OK {
				got = append(got, cond.Message)
			}
		}
		if diff := cmp.Diff([]string{"hello-00001: image of task web: no answer"}, got); diff != "" {
			t.Errorf("conditions (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(c.images, status().Revisions[0].Images); diff != "" {
			t.Errorf("images in the status (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"Image hello-00001 image of task web: no answer"}, toldOf(l, control.EventImage)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		c.images = []wadi.Image{{Task: "web", Name: "a:1", Digest: "sha256:1"}}
		c.submit("hello")
		time.Sleep(40 * time.Second)
		for _, cond := range status().Conditions {
			if cond.Type == control.ConditionImages {
				t.Errorf("still: %+v", cond)
			}
		}
		if n := len(toldOf(l, control.EventImage)); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}
