package mesh_test

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// docs/mesh.md shows every entry of a service as it is written.
func TestDoc(t *testing.T) {
	text, err := os.ReadFile("../../../docs/mesh.md")
	if err != nil {
		t.Fatal(err)
	}
	r := with(route(
		wadi.RouteTarget{Revision: "hello-00001", Weight: 9000},
		wadi.RouteTarget{Revision: "hello-00002", Weight: 1000, Tag: "canary"},
	), allow("web"))
	if rev := r.Revisions["hello-00001"]; rev.Timeout.Request.D() != 5*time.Minute || rev.Queue.Timeout.D() != time.Minute {
		t.Fatal("the example's timeouts are not those of the document")
	}
	want := map[string]api.ConfigEntry{}
	for _, e := range append(mesh.RenderActivator(r.Protocol), mesh.Render(r)...) {
		want[key(e.GetKind(), e.GetName())] = e
	}
	for _, m := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1) {
		raw := map[string]any{}
		if err := json.Unmarshal(m[1], &raw); err != nil {
			t.Fatalf("%v in %s", err, m[1])
		}
		meta, _ := raw["Meta"].(map[string]any)
		if meta == nil {
			meta = map[string]any{"wadi-service": "hello"}
		}
		meta["managed-by"] = "wadi" // Said once for all.
		raw["Meta"] = meta
		got, err := api.DecodeConfigEntry(raw)
		if err != nil {
			t.Fatalf("%v in %s", err, m[1])
		}
		k := key(got.GetKind(), got.GetName())
		if want[k] == nil {
			t.Errorf("%s is shown, and not written, or shown twice", k)
		} else if !mesh.Equal(want[k], got) {
			t.Errorf("%s (-written +shown):\n%s", k, cmp.Diff(want[k], got))
		}
		delete(want, k)
	}
	for k := range want {
		t.Errorf("%s is written, and not shown", k)
	}
}
