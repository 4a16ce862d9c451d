package admission_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/api"
)

// A mirror's tag is one of the traffic's, whoever sets the traffic.
func TestMirror_Tag(t *testing.T) {
	const mirror = "mirror {\n  tag = \"old\"\n  percent = 5\n}\n"
	b := three(t)
	refusal := b.refused(t, request(spec("hello", "/3", mirror)), 422) // What is stored has no tag.
	if want := `mirror.tag: no traffic target has the tag "old" (there is none)`; !strings.Contains(refusal.Error(), want) {
		t.Errorf("got %v, want %s", refusal, want)
	}
	b.submit(t, request(spec("hello", "/3", to("100 latest", "0 hello-00001 old"), mirror)))
	b.submit(t, request(spec("hello", "/3", mirror))) // Now it has.

	order := admission.Order{Service: "hello", Namespace: "default"}
	_, err := b.SetTraffic(t.Context(), order, []api.Target{{Revision: wadi.Latest, Percent: new(100.0)}})
	if refused := new(api.Error); !errors.As(err, &refused) || refused.Status != 422 || !strings.Contains(err.Error(), `mirror.tag: no traffic target has the tag "old"`) {
		t.Errorf("got %v", err)
	}
	if _, err := b.SetTraffic(t.Context(), order, []api.Target{{Revision: wadi.Latest, Percent: new(100.0)}, {Revision: "hello-00003", Tag: "old"}}); err != nil {
		t.Error(err)
	}
}
