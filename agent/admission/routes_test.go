package admission_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

// leads is a route block that leads to, for instance, `tag = "canary"`.
func leads(to string) string {
	return fmt.Sprintf("route \"r\" {\nmatch {\npath_prefix = \"/r\"\n}\n%s\n}", to)
}

// inMesh is a service in the mesh; without a namespace it is in the default one.
func inMesh(name string, more ...string) string {
	s := strings.Replace(spec(name, "/1", more...), `"off"`, `"envoy"`, 1)
	return strings.Replace(s, `"host"`, `"bridge"`, 1)
}

func TestSubmit_Routes(t *testing.T) {
	const led = `service = "bills"`
	tagged := to("100 latest", "0 latest canary")
	for _, tt := range []struct {
		name    string
		stored  []string
		sources []string
		refusal []string // Texts; none: it is good.
		warning string   // None: empty.
	}{
		{"a revision", nil, []string{spec("hello", "/3", leads(`revision = "hello-00001"`))}, nil, ""},
		{"the one that is made", nil, []string{spec("hello", "/4", leads(`revision = "hello-00004"`))}, nil, ""},
		{"a failed one, which is tried again", nil, []string{spec("hello", "/3", leads(`revision = "hello-00002"`))}, nil, ""},
		{"a revision that isn't there", nil, []string{spec("hello", "/3", leads(`revision = "hello-00009"`))},
			[]string{`a.hcl:8,12: route.r.revision`, `no revision "hello-00009"; there are: hello-00003, hello-00001`}, ""},
		{"of a new service", nil, []string{spec("world", "/1", leads(`revision = "world-00001"`))},
			[]string{"a.hcl:8", "the service is new; name a tag of a traffic block"}, ""},
		{"a tag", nil, []string{spec("hello", "/3", tagged, leads(`tag = "canary"`))}, nil, ""},
		{"a tag of a new service", nil, []string{spec("world", "/1", tagged, leads(`tag = "canary"`))}, nil, ""},
		{"a stored tag", []string{spec("hello", "/3", tagged)}, []string{spec("hello", "/3", leads(`tag = "canary"`))}, nil, ""},
		{"no such tag", nil, []string{spec("hello", "/3", tagged, leads(`tag = "beta"`))},
			[]string{"route.r.tag", `no traffic target has the tag "beta" (there are: canary)`}, ""},
		{"no tag at all", nil, []string{spec("hello", "/3", leads(`tag = "beta"`))}, []string{"a.hcl:8,7: route.r.tag", "(there is none)"}, ""},
		{"a tag that the file takes away", []string{spec("hello", "/3", tagged, leads(`tag = "canary"`))},
			[]string{spec("hello", "/3", to("100 latest"), leads(`tag = "canary"`))}, []string{"route.r.tag"}, ""},
		{"no such service", nil, []string{inMesh("shop", leads(led))}, []string{"a.hcl:8,11: route.r.service", `no service "bills"`, "together with it"}, ""},
		{"a service", []string{inMesh("bills")}, []string{inMesh("shop", leads(led))}, nil, ""},
		{"one of the same submission", nil, []string{inMesh("shop", leads(led)), inMesh("bills")}, nil, ""},
		{"each to the other", nil, []string{inMesh("shop", leads(led)), inMesh("bills", leads(`service = "shop"`))}, nil, ""},
		{"in another namespace", []string{inMesh("bills", `namespace = "prod"`)}, []string{inMesh("shop", leads(led))},
			[]string{"route.r.service", "is in another Nomad namespace"}, ""},
		{"of another protocol", []string{inMesh("bills", `protocol = "h2c"`)}, []string{inMesh("shop", leads(led))},
			[]string{"route.r.service", `has the protocol "h2c", and this one "http1"`}, ""},
		{"outside the mesh", []string{spec("bills", "/1")}, []string{inMesh("shop", leads(led))}, []string{"route.r.service", "is not in the mesh"}, ""},
		{"both outside the mesh", []string{spec("bills", "/1")}, []string{spec("shop", "/1", leads(led))}, nil, ""},
		{"from outside into the mesh", []string{inMesh("bills")}, []string{spec("shop", "/1", leads(led))}, nil, ""},
		{"a less visible one", []string{inMesh("bills", `visibility = "mesh"`)}, []string{inMesh("shop", leads(led))}, nil, "from outside the gateway answers such requests with 404"},
		{"as little visible", []string{inMesh("bills", `visibility = "mesh"`)}, []string{inMesh("shop", `visibility = "mesh"`, leads(led))}, nil, ""},
		{"that leaves the mesh", []string{inMesh("bills"), inMesh("shop", leads(led))}, []string{spec("bills", "/1")},
			[]string{"a.hcl:2", "mesh", `route "r" of the service "shop" leads callers in the mesh here`}, ""},
		{"that leaves it with the other", []string{inMesh("bills"), inMesh("shop", leads(led))}, []string{spec("bills", "/1"), spec("shop", "/1", leads(led))}, nil, ""},
		{"that leaves it as the route goes", []string{inMesh("bills"), inMesh("shop", leads(led))}, []string{spec("bills", "/1"), inMesh("shop")}, nil, ""},
		{"all mistakes", nil, []string{inMesh("shop", leads(led)), spec("hello", "/3", leads(`tag = "beta"`))}, []string{"a.hcl:8", "b.hcl:8"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := three(t)
			for _, s := range tt.stored {
				b.submit(t, request(s))
			}
			if tt.refusal != nil {
				_ = b.refused(t, request(tt.sources...), 422, tt.refusal...)
				return
			}
			var warnings []string
			for _, s := range b.submit(t, request(tt.sources...)).Services {
				warnings = append(warnings, s.Warnings...)
			}
			if got := strings.Join(warnings, "\n"); !strings.Contains(got, tt.warning) || (got == "") != (tt.warning == "") {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
		})
	}
}

// A revision that a route names is tried again as one with traffic is.
func TestSubmit_RouteTriesAgain(t *testing.T) {
	b := three(t)
	got := b.submit(t, request(spec("hello", "/3", leads(`revision = "hello-00002"`)))).Services[0]
	if !slices.Equal(got.Retried, []string{"hello-00002"}) {
		t.Errorf("tried again: %v", got.Retried)
	}
}

// No route leads to a revision or a service that is being deleted.
func TestSubmit_RouteToDeleted(t *testing.T) {
	b := three(t)
	err := b.store.MarkRevision(t.Context(), "hello", "hello-00001", func(wadi.Marked) (wadi.Mark, error) { return wadi.Mark{Deleted: true}, nil })
	if err != nil {
		t.Fatal(err)
	}
	_ = b.refused(t, request(spec("hello", "/3", leads(`revision = "hello-00001"`))), 422, "route.r.revision", `"hello-00001" is being deleted; there are: hello-00003`)
	_, index, _ := b.store.Spec(t.Context(), "hello")
	if err := b.store.MarkDeleting(t.Context(), "hello", index); err != nil {
		t.Fatal(err)
	}
	_ = b.refused(t, request(spec("shop", "/1", leads(`service = "hello"`))), 422, "route.r.service", `"hello" is being deleted`)
}

// A store that can't be read is told apart from a service that isn't there.
func TestSubmit_RouteUnread(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(inMesh("bills")))
	b.store.Fail(wadi.ErrUnavailable)
	if _, err := b.Submit(t.Context(), request(inMesh("shop", leads(`service = "bills"`)))); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("submit: got %v", err)
	}
	if err := b.MayRemove(t.Context(), wadi.Service{Name: "bills"}, ""); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("delete: got %v", err)
	}
}

// An order keeps the tags to which routes lead, by whichever targets.
func TestSetTraffic_RoutedTag(t *testing.T) {
	b := three(t)
	b.submit(t, request(spec("hello", "/3", to("100 latest", "0 hello-00001 canary"), leads(`tag = "canary"`))))
	_, err := b.SetTraffic(t.Context(), helloOrder, target("100 latest", "0 hello-00001 beta"))
	refusalOf(t, err, 422, `targets: the route "r" leads to the tag "canary", which no target would have (there are: beta)`, "change the route in the service's file first")
	if _, err := b.SetTraffic(t.Context(), helloOrder, target("100 hello-00003 canary")); err != nil {
		t.Error(err)
	}
	if _, err := b.Rollback(t.Context(), helloOrder, "hello-00001"); err != nil {
		t.Errorf("a rollback keeps tags: %v", err)
	}
	// What a stored route names is no mistake of an order.
	b.submit(t, request(spec("hello", "/3", to("100 latest"), leads(`revision = "hello-00002"`))))
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{"hello-00002": {Phase: wadi.Failed, Reason: "it ended", Attempt: 99}}})
	if _, err := b.SetTraffic(t.Context(), helloOrder, target("100 hello-00003")); err != nil {
		t.Error(err)
	}
}

// A service to which another's route leads stays.
func TestMayRemove_Led(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(inMesh("bills", leads(`service = "shop"`)), inMesh("shop", leads(`service = "bills"`)), inMesh("till", leads(`service = "bills"`))))
	remove := func(name string) error {
		spec, index, err := b.store.Spec(t.Context(), name)
		if err == nil {
			if err = b.MayRemove(t.Context(), spec.Service, ""); err == nil {
				err = b.store.MarkDeleting(t.Context(), name, index)
			}
		}
		return err
	}
	refusalOf(t, remove("bills"), 409, `route "r" of the service "shop" leads to bills, and 1 other service too; change that, or delete shop first`)
	if err := remove("till"); err != nil {
		t.Error(err)
	}
	refusalOf(t, remove("bills"), 409, `route "r" of the service "shop" leads to bills; change that`)
	b.submit(t, request(inMesh("shop")))
	for _, name := range []string{"bills", "shop"} {
		if err := remove(name); err != nil {
			t.Error(err)
		}
	}
}
