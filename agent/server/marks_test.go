package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
)

// newMarksBench has hello with three revisions, the last of them the newest.
func newMarksBench(t *testing.T) bench {
	t.Helper()
	b := newBench(t, nil)
	for i := range 3 {
		b.want(t, 200, "PUT", "/v1/services", submission(strings.Replace(hello, "/bin/a", fmt.Sprint("/bin/", i), 1)), fmt.Sprintf("hello-0000%d", i+1))
	}
	return b
}

func TestPin(t *testing.T) {
	b := newMarksBench(t)
	b.want(t, 200, "PUT", "/v1/revision/hello-00001/pin", "", `{"revision":"hello-00001","pinned":true}`)
	b.want(t, 200, "PUT", "/v1/revision/hello-00001/pin", "", `"pinned":true`)
	b.want(t, 200, "GET", "/v1/service/hello/revisions", "", `"id":"hello-00001"`, `"pinned":true`)
	b.want(t, 409, "DELETE", "/v1/revision/hello-00001", "", "hello-00001 is pinned; unpin it first")
	b.want(t, 200, "DELETE", "/v1/revision/hello-00001/pin", "", `"pinned":false`)
	b.want(t, 200, "DELETE", "/v1/revision/hello-00001/pin", "", `"pinned":false`)
	if a := b.want(t, 200, "GET", "/v1/service/hello/revisions", ""); strings.Contains(a.body, "pinned") {
		t.Errorf("got %s", a.body)
	}
	for _, id := range []string{"hello-00009", "nobody-00001", "hello", "x%2F..%2Fhello-00001"} {
		b.want(t, 404, "PUT", "/v1/revision/"+id+"/pin", "")
		b.want(t, 404, "DELETE", "/v1/revision/"+id, "")
	}
	b.want(t, 202, "DELETE", "/v1/revision/hello-00001", "")
	b.want(t, 409, "PUT", "/v1/revision/hello-00001/pin", "", "hello-00001 is being deleted")
	b.want(t, 200, "DELETE", "/v1/revision/hello-00001/pin", "") // Which does not undo the deletion.
	b.want(t, 200, "GET", "/v1/service/hello/revisions", "", `"deleting":true`)
}

func TestPin_Bound(t *testing.T) {
	b := newBench(t, nil)
	for i := range 52 {
		b.want(t, 200, "PUT", "/v1/services", submission(strings.Replace(hello, "/bin/a", fmt.Sprint("/bin/", i), 1)))
	}
	for i := range 50 {
		b.want(t, 200, "PUT", fmt.Sprintf("/v1/revision/hello-%05d/pin", i+1), "")
	}
	b.want(t, 200, "PUT", "/v1/revision/hello-00050/pin", "")
	b.want(t, 409, "PUT", "/v1/revision/hello-00051/pin", "", "50 pinned revisions")
	b.want(t, 200, "DELETE", "/v1/revision/hello-00007/pin", "")
	b.want(t, 200, "PUT", "/v1/revision/hello-00051/pin", "")
}

func TestDeleteRevision(t *testing.T) {
	b := newMarksBench(t)
	b.store.SetRoute(wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{{Revision: "hello-00002", Weight: wadi.WeightAll}}})
	b.want(t, 409, "DELETE", "/v1/revision/hello-00003", "", `the newest revision of hello`)
	b.want(t, 409, "DELETE", "/v1/revision/hello-00002", "", "requests still go to hello-00002")
	traffic := strings.Replace(hello, "  mesh ", `  traffic {
    revision = "latest"
    percent  = 100
  }
  traffic {
    revision = "hello-00001"
    percent  = 0
    tag      = "old"
  }
  mesh `, 1)
	b.want(t, 200, "PUT", "/v1/services", submission(strings.Replace(traffic, "/bin/a", "/bin/2", 1)), "hello-00003")
	b.want(t, 409, "DELETE", "/v1/revision/hello-00001", "", `hello-00001 has the tag \"old\"`)
	b.store.SetRoute(wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{{Revision: "hello-00003", Weight: wadi.WeightAll}}})
	a := b.want(t, 200, "GET", "/v1/service/hello", "")
	_, rest, _ := strings.Cut(a.body, `"index":`)
	index, _, _ := strings.Cut(rest, ",")
	b.want(t, 409, "DELETE", "/v1/revision/hello-00002?index=1", "", "stored index is "+index)
	b.want(t, 202, "DELETE", "/v1/revision/hello-00002?index="+index, "", `{"name":"hello-00002","deleting":true,"gone":false}`)
	b.want(t, 202, "DELETE", "/v1/revision/hello-00002?wait=1ms", "", `"deleting":true`)
	b.want(t, 400, "DELETE", "/v1/revision/hello-00002?wait=x", "")
}

// Marks need the right to submit in the service's namespace, and what may not be read does not exist.
func TestMarks_Rights(t *testing.T) {
	b := newMarksBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	b.nomad.Allow("reader", admissiontest.Grant{Read: []string{"default"}})
	b.nomad.Allow("scaler", admissiontest.Grant{Read: []string{"default"}, Scale: []string{"default"}})
	b.nomad.Allow("bob", admissiontest.Grant{Submit: []string{"elsewhere"}})
	for _, call := range []string{"PUT /pin", "DELETE /pin", "DELETE "} {
		method, path, _ := strings.Cut(call, " ")
		for token, status := range map[string]int{"": 401, "reader": 403, "scaler": 403, "bob": 404, "nobody": 403} {
			b.ask(t, method, "/v1/revision/hello-00001"+path, "", "X-Nomad-Token", token).want(t, status)
		}
		there := b.ask(t, method, "/v1/revision/hello-00001"+path, "", "X-Nomad-Token", "bob")
		not := b.ask(t, method, "/v1/revision/nobody-00001"+path, "", "X-Nomad-Token", "bob")
		if there.status != not.status || strings.ReplaceAll(there.body, "hello", "nobody") != not.body {
			t.Errorf("%s: %s, %s", call, there.body, not.body)
		}
	}
	b.ask(t, "PUT", "/v1/revision/hello-00001/pin", "", "X-Nomad-Token", "alice").want(t, 200)
	b.ask(t, "DELETE", "/v1/revision/hello-00002", "", "X-Nomad-Token", "alice").want(t, 202)
}

// changing is a store in which a service changes between the question whether a caller may mark
// a revision, and the mark.
type changing struct {
	server.Store
	change func(*wadi.Spec)
}

func (c changing) MarkRevision(ctx context.Context, service, id string, decide func(wadi.Marked) (wadi.Mark, error)) error {
	return c.Store.MarkRevision(ctx, service, id, func(seen wadi.Marked) (wadi.Mark, error) {
		c.change(&seen.Spec)
		return decide(seen)
	})
}

// A mark is for the service by which the caller's rights and index were judged.
func TestMarks_OfAServiceThatChanges(t *testing.T) {
	for name, change := range map[string]func(*wadi.Spec){
		"another team's": func(s *wadi.Spec) { s.Service.Namespace = "secret" },
		"submitted":      func(s *wadi.Spec) { s.Generation++ },
		"deleted":        func(s *wadi.Spec) { s.Deleting = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *server.Config) { c.Store = changing{c.Store, change} })
			for _, command := range []string{"/bin/1", "/bin/2"} {
				b.want(t, 200, "PUT", "/v1/services", submission(strings.Replace(hello, "/bin/a", command, 1)))
			}
			b.want(t, 409, "PUT", "/v1/revision/hello-00001/pin", "", "hello was changed meanwhile")
			b.want(t, 409, "DELETE", "/v1/revision/hello-00001/pin", "", "hello was changed meanwhile")
			b.want(t, 409, "DELETE", "/v1/revision/hello-00001?index=2", "", "hello was changed meanwhile")
			if a := b.want(t, 200, "GET", "/v1/service/hello/revisions", ""); strings.Contains(a.body, "pinned") || strings.Contains(a.body, "deleting") {
				t.Errorf("got %s", a.body)
			}
		})
	}
}
