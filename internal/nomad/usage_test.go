package nomad_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
)

const mib = 1 << 20

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       nomad.Resources
		err        string
	}{
		{"cgroup v1", `{"Tasks":{"web":{"Timestamp":1,"ResourceUsage":{"CpuStats":{"TotalTicks":250.5},"MemoryStats":{"RSS":1048576,"Usage":9,"Measured":["RSS"]}}}}}`,
			nomad.Resources{CPU: 250.5, Memory: mib}, ""},
		{"cgroup v2, without a resident set", `{"Tasks":{"web":{"Timestamp":1,"ResourceUsage":{"CpuStats":{"TotalTicks":1},"MemoryStats":{"Usage":3145728,"Cache":1048576}}}}}`,
			nomad.Resources{CPU: 1, Memory: 2 * mib}, ""},
		{"more cache than it is charged with", `{"Tasks":{"web":{"Timestamp":1,"ResourceUsage":{"CpuStats":{},"MemoryStats":{"Usage":1,"Cache":2}}}}}`,
			nomad.Resources{}, "no statistics"},
		{"at rest", `{"Tasks":{"web":{"Timestamp":1,"ResourceUsage":{"CpuStats":{"Measured":["System Mode","User Mode","Percent"]},"MemoryStats":{"RSS":1048576}}}}}`,
			nomad.Resources{Memory: mib}, ""},
		{"processor not measured", `{"Tasks":{"web":{"Timestamp":1,"ResourceUsage":{"CpuStats":{},"MemoryStats":{"RSS":1048576}}}}}`,
			nomad.Resources{}, "no statistics"},
		{"memory not measured", `{"Tasks":{"web":{"Timestamp":1,"ResourceUsage":{"CpuStats":{"TotalTicks":1},"MemoryStats":{}}}}}`,
			nomad.Resources{}, "no statistics"},
		{"a container of which nothing was measured yet", `{"Tasks":{"web":{"Timestamp":-6795364578871345152,"ResourceUsage":{"CpuStats":{"Measured":["Percent"]},"MemoryStats":{"Measured":["RSS"]}}}}}`,
			nomad.Resources{}, "no statistics"},
		{"the same with some memory", `{"Tasks":{"web":{"Timestamp":-6795364578871345152,"ResourceUsage":{"CpuStats":{"Measured":["Percent"]},"MemoryStats":{"RSS":4096}}}}}`,
			nomad.Resources{}, "no statistics"},
		{"nothing is collected", `{"Tasks":{},"Timestamp":0}`, nomad.Resources{}, "publish_allocation_metrics"},
		{"another task", `{"Tasks":{"db":{"Timestamp":1,"ResourceUsage":{"CpuStats":{},"MemoryStats":{}}}}}`, nomad.Resources{}, "no statistics"},
		{"null", `{"Tasks":{"web":null}}`, nomad.Resources{}, "no statistics"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, answer(200, tt.body))
			got, err := c.Usage(t.Context(), "default", "a", "web")
			if got.Resources != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %+v (%v), want %+v and an error with %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestAsked(t *testing.T) {
	c := client(t, answer(200, `{"AllocatedResources":{"Tasks":{"web":{"Cpu":{"CpuShares":200},"Memory":{"MemoryMB":64,"MemoryMaxMB":128}}}}}`))
	got, err := c.RequestedResources(t.Context(), "default", "a", "web")
	if want := (nomad.Resources{CPU: 200, Memory: 64 * mib}); err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if _, err := c.RequestedResources(t.Context(), "default", "a", "db"); err == nil {
		t.Error("a task that is not there has resources")
	}
}

// The scale endpoint checks rights before it looks up the job.
func TestMayScale(t *testing.T) {
	for _, tt := range []struct {
		code int
		body string
		want error
	}{
		{404, `job "wadi.rights.probe" not found`, nil},
		{403, "Permission denied", wadi.ErrForbidden},
		{500, "No cluster leader", wadi.ErrUnavailable},
	} {
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut && r.Method != http.MethodPost || r.Header.Get("X-Nomad-Token") != "caller" {
				t.Errorf("got %s with token %q", r.Method, r.Header.Get("X-Nomad-Token"))
			}
			answer(tt.code, tt.body)(w, r)
		}))
		if err := c.MayScale(t.Context(), "caller", "default"); !errors.Is(err, tt.want) {
			t.Errorf("%d: got %v, want %v", tt.code, err, tt.want)
		}
	}
}
