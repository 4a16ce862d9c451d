package webhook_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/wadi-run/wadi/agent/admission/webhook"
)

// FuzzAnswer: whatever a webhook says, it is an answer or a failure, and what a patch makes
// is JSON.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"allowed": true}`, `{"allowed": false, "message": "no"}`, `{"allowed": true, "patch": [null]}`,
		`{"allowed": true, "patch": [{"op": "add", "path": "/service/meta/a", "value": 1}]}`,
		`{"allowed": true, "patch": [{"op": "move", "from": "/instance/Tasks/0", "path": "/service/meta/~1x"}]}`,
		`{"allowed": true, "patch": [{"op": "copy", "from": "/service", "path": "/service/meta"}, {"op": "test", "path": "/service/meta", "value": null}]}`,
		`{"allowed": true, "patch": [{"op": "replace", "path": "/instance/Tasks/-", "value": {}}, {"op": "remove", "path": "/instance/Tasks/99999999999"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := webhook.Read(question(), text)
		var failure *webhook.Failure
		switch {
		case err != nil && !errors.As(err, &failure):
			t.Errorf("got %v, want a failure", err)
		case err == nil && (!json.Valid(a.Service) || !json.Valid(a.Instance)):
			t.Errorf("made %q and %q", a.Service, a.Instance)
		}
	})
}
