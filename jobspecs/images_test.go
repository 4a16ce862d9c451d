package jobspecs_test

import (
	"encoding/json"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// A block is a list in HCL's form, and may be an object in JSON's.
func TestImages_NoHealthcheck(t *testing.T) {
	for config, want := range map[string]bool{
		`{"image": "a"}`: false,
		`{"image": "a", "healthchecks": [{"disable": true}]}`:                     true,
		`{"image": "a", "healthchecks": {"disable": true}}`:                       true,
		`{"image": "a", "healthchecks": [{"disable": "true"}]}`:                   true,
		`{"image": "a", "healthchecks": [{"disable": false}]}`:                    false,
		`{"image": "a", "healthchecks": [{}]}`:                                    false,
		`{"image": "a", "healthchecks": []}`:                                      false,
		`{"image": "a", "healthchecks": [["disable"]]}`:                           false,
		`{"image": "a", "healthchecks": "disable"}`:                               false,
		`{"image": "a", "healthchecks": {"disable": [true]}}`:                     false,
		`{"image": "a", "healthchecks": [{"disable": true}, {"disable": false}]}`: false,
	} {
		got, err := jobspecs.Images(wadi.Service{Instance: json.RawMessage(`{"Tasks": [{"Name": "web", "Driver": "docker", "Config": ` + config + `}]}`)})
		if err != nil || len(got) != 1 || got[0].NoHealthcheck != want {
			t.Errorf("%s: %+v, %v; want %t", config, got, err, want)
		}
	}
}
