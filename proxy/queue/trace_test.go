package queue_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Trace context passes to the app unchanged, valid or not.
func TestTraffic_TraceContextPasses(t *testing.T) {
	seen := make(chan http.Header, 1)
	s := start(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })
	for _, parent := range []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "nonsense"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Traceparent"], r.Header["Tracestate"] = []string{parent}, []string{"a=1", "b=2"}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		h := <-seen
		got := [][]string{h["Traceparent"], h["Tracestate"]}
		if d := cmp.Diff([][]string{{parent}, {"a=1", "b=2"}}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}
