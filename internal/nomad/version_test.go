package nomad_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wadi-run/wadi/internal/nomad"
)

func TestEnforcesIndex(t *testing.T) {
	for version, want := range map[string][2]bool{
		"1.11.3": {false, true}, "2.0.0": {false, true}, "2.0.1": {true, true}, "2.0.5": {true, true}, "2.1.0": {true, true},
		"3.0.0": {true, true}, "2.0.1-beta.1": {false, true}, "2.0.1+ent": {true, true}, "1.11.9+ent": {false, true},
		"": {false, false}, "2.0": {false, false}, "two.0.1": {false, false}, "2.0.-1": {false, false},
	} {
		if enforces, known := nomad.EnforcesIndex(version); enforces != want[0] || known != want[1] {
			t.Errorf("%q: got %v %v, want %v", version, enforces, known, want)
		}
	}
}

func TestServerVersions(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/agent/members" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"ServerRegion":"global","Members":[{"Name":"a.global","Status":"alive","Tags":{"build":"1.11.3","region":"global"}},
			{"Name":"b.global","Status":"failed","Tags":{"build":"2.0.5","region":"global"}},{"Name":"c.global","Status":"left","Tags":{"build":"1.0.0","region":"global"}},
			{"Name":"d.eu","Status":"alive","Tags":{"build":"1.0.0","region":"eu"}}]}`))
	}))
	defer srv.Close()
	c, err := nomad.New(nomad.Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.ServerVersions(t.Context())
	if want := map[string]string{"a.global": "1.11.3", "b.global": "2.0.5"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}
