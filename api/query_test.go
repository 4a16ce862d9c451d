package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wadi-run/wadi/api"
)

func TestServiceAt(t *testing.T) {
	query := ""
	index := "8"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		if index != "" {
			w.Header().Set(api.HeaderIndex, index)
		}
		_, _ = w.Write([]byte(`{"generation": 3}`))
	}))
	t.Cleanup(s.Close)
	c := client(t, api.Config{Address: s.URL})
	for _, tt := range []struct {
		name   string
		q      api.Query
		header string
		query  string
		next   uint64
	}{
		{"present state", api.Query{}, "8", "", 8},
		{"next change", api.Query{Index: 8, Wait: time.Minute}, "9", "index=8&wait=1m0s", 9},
		{"nothing happened", api.Query{Index: 8}, "8", "index=8", 8},
		{"Consul was restored", api.Query{Index: 8}, "7", "index=8", 0},
		{"an agent without indexes", api.Query{Index: 8}, "", "index=8", 0},
		{"no number", api.Query{}, "x", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			index = tt.header
			got, next, err := c.ServiceAt(t.Context(), "hello", tt.q)
			if err != nil || got.Generation != 3 || next != tt.next || query != tt.query {
				t.Errorf("generation %d, next %d, query %q, %v", got.Generation, next, query, err)
			}
		})
	}
}
