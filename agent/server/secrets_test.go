package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

// A password that an earlier Wadi stored is in no answer.
func TestSecrets_StoredBefore(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, http.StatusOK, "PUT", "/v1/services", submission(hello))
	const marker = "m4rk3r-7f3a"
	spec, index, err := b.store.Spec(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	revisions, err := b.store.Revisions(t.Context(), "hello")
	if err != nil || len(revisions) != 1 {
		t.Fatalf("revisions: %v, %v", revisions, err)
	}
	old := revisions[0]
	auth := func(data json.RawMessage) json.RawMessage {
		changed := strings.Replace(string(data), `"Config":{`, `"Config":{"auth":[{"username":"me","password":"`+marker+`"}],`, 1)
		if changed == string(data) {
			t.Fatalf("nowhere to put it: %s", data)
		}
		return json.RawMessage(changed)
	}
	old.ID, old.Number = wadi.RevisionID("hello", 2), 2
	old.Job, old.Spec.Instance = auth(old.Job), auth(old.Spec.Instance)
	spec.Service.Instance, spec.Latest = old.Spec.Instance, old.ID
	spec.Source, spec.Variables = "password = \""+marker+"\"", map[string]string{"p": marker}
	if _, err := b.store.Submit(t.Context(), []wadi.Submission{{Spec: spec, Index: index, NewRevision: &old}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/service/hello", "/v1/services", "/v1/service/hello/revisions", "/v1/revision/hello-00002", "/v1/revision/hello-00001"} {
		if a := b.want(t, http.StatusOK, "GET", path, ""); strings.Contains(a.body, marker) {
			t.Errorf("%s has it: %s", path, a.body)
		}
	}
	b.want(t, http.StatusOK, "GET", "/v1/service/hello", "", `"warnings":["instance.task.web.config.auth.password: `, `"username":"me","password":"(hidden-by-wadi)"`)
	b.want(t, http.StatusOK, "GET", "/v1/revision/hello-00002", "", `"password":"(hidden-by-wadi)"`)
	if a := b.want(t, http.StatusOK, "POST", "/v1/services/plan", submission(hello)); strings.Contains(a.body, marker) {
		t.Errorf("the plan has it: %s", a.body)
	}
	if a := b.want(t, http.StatusOK, "PUT", "/v1/services", submission(hello)); strings.Contains(a.body, marker) || strings.Contains(b.log.String(), marker) {
		t.Errorf("the answer or the log has it: %s\n%s", a.body, b.log)
	}
}
