package survey_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

// What a client does with images, as Nomad 1.11 shows its configuration.
func TestAskNomadAgent_ImageGC(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		want   survey.ImageGC
	}{
		"nothing said":      {`"Client":{"Enabled":true}`, survey.ImageGC{On: true, Delay: 3 * time.Minute}},
		"off":               {`"Client":{"Enabled":true},"Plugins":[{"Name":"raw_exec"},{"Name":"docker","Config":{"gc":[{"image":false,"dangling_containers":[{"enabled":false}]}]}}]`, survey.ImageGC{Delay: 3 * time.Minute}},
		"long":              {`"Client":{"Enabled":true},"Plugins":[{"Name":"docker","Config":{"gc":[{"image_delay":"168h"}]}}]`, survey.ImageGC{On: true, Delay: 168 * time.Hour}},
		"in JSON":           {`"Client":{"Enabled":true},"Plugins":[{"Name":"docker","Config":{"gc":{"image":"false"}}}]`, survey.ImageGC{Delay: 3 * time.Minute}},
		"other settings":    {`"Client":{"Enabled":true},"Plugins":[{"Name":"docker","Config":{"volumes":[{"enabled":true}]}}]`, survey.ImageGC{On: true, Delay: 3 * time.Minute}},
		"by options":        {`"Client":{"Enabled":true,"Options":{"docker.cleanup.image":"false"}}`, survey.ImageGC{Delay: 3 * time.Minute}},
		"a delay by option": {`"Client":{"Enabled":true,"Options":{"docker.cleanup.image.delay":"1h"}}`, survey.ImageGC{On: true, Delay: time.Hour}},
		"the block decides": {`"Client":{"Enabled":true,"Options":{"docker.cleanup.image":"false"}},"Plugins":[{"Name":"docker","Config":{"gc":[{"image":true}]}}]`, survey.ImageGC{On: true, Delay: 3 * time.Minute}},
		"nonsense":          {`"Client":{"Enabled":true},"Plugins":[null,{"Name":"docker","Config":{"gc":"x","y":7}}]`, survey.ImageGC{On: true, Delay: 3 * time.Minute}},
		"a server":          {`"Client":{"Enabled":false}`, survey.ImageGC{}},
	} {
		s := &system{answers: map[string]string{"/v1/agent/self": `{"config":{` + tt.config + `}}`}}
		got := survey.AskNomadAgent(t.Context(), s.reader(t, survey.Config{}))
		if got.Err != nil || got.Value.ImageGC != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}

// A pull counts when the task started with it; one that failed is none.
func TestPulls(t *testing.T) {
	s := &system{answers: map[string]string{"/v1/allocations": `[null,
		{"NodeID":"1","NodeName":"one","TaskStates":{"queue-proxy":null,"web":{"Events":[{"Type":"Received","Time":1},
			{"Type":"Driver","DisplayMessage":"Downloading image","Time":2,"Details":{"image":"web:1"}},{"Type":"Driver Failure","Time":3},
			{"Type":"Driver","DisplayMessage":"Downloading image","Time":4,"Details":{"image":"web:1"}},{"Type":"Started","Time":5},{"Type":"Started","Time":9}]}}},
		{"NodeID":"2","TaskStates":{"web":{"Events":[{"Type":"Driver","DisplayMessage":"Downloading image","Time":2,"Details":{"image":"web:1"}},{"Type":"Driver Failure","Time":3}]}}},
		{"NodeID":"2","TaskStates":{"web":{"Events":[{"Type":"Started","Time":3}]}}}]`}}
	got := survey.Pulls(t.Context(), s.reader(t, survey.Config{}))
	want := []survey.Pull{{Node: "1", NodeName: "one", Image: "web:1", At: time.Unix(0, 4)}}
	if diff := cmp.Diff(want, got.Value); diff != "" || got.Err != nil {
		t.Errorf("%v (-want +got):\n%s", got.Err, diff)
	}
	q := s.asked[0].URL.Query()
	if q.Get("namespace") != "*" || q.Get("per_page") == "" || q.Get("reverse") != "true" || q.Get("filter") != `TaskGroup == "instance"` {
		t.Errorf("asked with %v", q)
	}
	s.answers["/v1/allocations"] = "403 Permission denied"
	if got := survey.Pulls(t.Context(), s.reader(t, survey.Config{})); !errors.Is(got.Err, wadi.ErrForbidden) {
		t.Errorf("got %+v", got)
	}
}
