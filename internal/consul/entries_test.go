package consul_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/consul/api"
)

// Of thousands of entries few change between two lists: the others are not decoded again.
func TestEntries_DecodesWhatChangedOnly(t *testing.T) {
	var index atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		fmt.Fprintf(w, `[{"Kind":"service-defaults","Name":"a","ModifyIndex":1},{"Kind":"service-defaults","Name":"b","Protocol":"http","ModifyIndex":%d}]`, 2+index.Load())
	}))
	t.Cleanup(srv.Close)
	c := newClient(t, srv.URL)
	list := func() []api.ConfigEntry {
		t.Helper()
		all, err := c.Entries(t.Context(), api.ServiceDefaults)
		if err != nil || len(all) != 2 {
			t.Fatalf("got %d entries (%v), want 2", len(all), err)
		}
		return all
	}
	first, same := list(), list()
	index.Add(1)
	edited := list()
	if first[0] != same[0] || first[1] != same[1] || first[0] != edited[0] {
		t.Error("an entry that is the same was decoded again")
	}
	if b, ok := edited[1].(*api.ServiceConfigEntry); !ok || edited[1] == first[1] || b.ModifyIndex != 3 || b.Protocol != "http" {
		t.Errorf("the edited entry is %+v", edited[1])
	}
}
