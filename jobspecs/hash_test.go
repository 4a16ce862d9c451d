package jobspecs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

func service() wadi.Service {
	s := jobspecs.Defaults{}.Service()
	s.Name, s.ServingTask = "a", "web"
	s.Datacenters = []string{"dc1", "dc2"}
	s.Upstreams = []wadi.Upstream{{Service: "b", LocalPort: 1}, {Service: "c", LocalPort: 2}}
	s.Instance = json.RawMessage(`{"Name":"instance","RestartPolicy":{"Attempts":0},"Tasks":[{"Name":"web","Env":{"A":"","B":"1"}}]}`)
	return s
}

func TestHash(t *testing.T) {
	empty := ""
	for _, tt := range []struct {
		name   string
		change func(s *wadi.Service)
		same   bool
	}{
		{"nothing", func(*wadi.Service) {}, true},
		{"scale", func(s *wadi.Service) { s.Scale.Max, s.Scale.Window = 9, wadi.Duration(time.Hour) }, true},
		{"traffic", func(s *wadi.Service) { s.Traffic = []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}} }, true},
		{"queue", func(s *wadi.Service) { s.Queue.Depth, s.Queue.Timeout = 3, 1 }, true},
		{"domains", func(s *wadi.Service) { s.Domains = []string{"x"} }, true},
		{"visibility", func(s *wadi.Service) { s.Visibility = wadi.MeshOnly }, true},
		{"retention", func(s *wadi.Service) { s.Retention.Keep = 1 }, true},
		{"intentions", func(s *wadi.Service) { s.Intentions = &wadi.Intentions{Allow: []string{"web"}} }, true},
		{"meta", func(s *wadi.Service) { s.Meta = map[string]string{"a": "b"} }, true},
		{"order of datacenters", func(s *wadi.Service) { s.Datacenters = []string{"dc2", "dc1"} }, true},
		{"order of upstreams", func(s *wadi.Service) { s.Upstreams[0], s.Upstreams[1] = s.Upstreams[1], s.Upstreams[0] }, true},
		{"layout of the instance", func(s *wadi.Service) {
			s.Instance = json.RawMessage(`{ "Tasks": [{"Env":{"B":"1","A":""}, "Name":"web", "User":null}], "RestartPolicy":{"Attempts":0}, "Name":"instance" }`)
		}, true},

		{"quiet", func(s *wadi.Service) { s.Queue.Quiet = []string{"/x"} }, false},
		{"namespace", func(s *wadi.Service) { s.Namespace = "x" }, false},
		{"datacenters", func(s *wadi.Service) { s.Datacenters = []string{"dc1"} }, false},
		{"node pool", func(s *wadi.Service) { s.NodePool = "x" }, false},
		{"priority", func(s *wadi.Service) { s.Priority = 51 }, false},
		{"port", func(s *wadi.Service) { s.Port = 81 }, false},
		{"protocol", func(s *wadi.Service) { s.Protocol = wadi.H2C }, false},
		{"serving task", func(s *wadi.Service) { s.ServingTask = "x" }, false},
		{"network", func(s *wadi.Service) { s.Network = wadi.Host }, false},
		{"mesh", func(s *wadi.Service) { s.Mesh = wadi.MeshOff }, false},
		{"upstreams", func(s *wadi.Service) { s.Upstreams = s.Upstreams[:1] }, false},
		{"probe", func(s *wadi.Service) { s.Probe.HTTP = "/" }, false},
		{"probe of the whole app", func(s *wadi.Service) { s.Probe.GRPC = &empty }, false},
		{"limit", func(s *wadi.Service) { s.ConcurrencyLimit = 1 }, false},
		{"timeout", func(s *wadi.Service) { s.Timeout.Idle = 1 }, false},
		{"environment", func(s *wadi.Service) {
			s.Instance = json.RawMessage(`{"Name":"instance","RestartPolicy":{"Attempts":0},"Tasks":[{"Name":"web","Env":{"B":"1"}}]}`)
		}, false},
		{"a zero that was set", func(s *wadi.Service) {
			s.Instance = json.RawMessage(`{"Name":"instance","RestartPolicy":{},"Tasks":[{"Name":"web","Env":{"A":"","B":"1"}}]}`)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := service()
			tt.change(&changed)
			if same := jobspecs.Hash(changed) == jobspecs.Hash(service()); same != tt.same {
				t.Errorf("same hash: %t, want %t", same, tt.same)
			}
		})
	}
	s := service()
	jobspecs.Hash(s)
	if s.Upstreams[0].Service != "b" || s.Datacenters[0] != "dc1" {
		t.Error("Hash changed what it was given")
	}
}

func TestHash_CommentsAndLayoutDoNotCount(t *testing.T) {
	a, _ := parseOne(t, "service \"a\" {\n  instance {\n  }\n}\n", jobspecs.Options{})
	b, _ := parseOne(t, "# Hello.\n\nservice \"a\" {\n  priority = 50 # As by default.\n  instance { }\n}\n", jobspecs.Options{})
	job := []byte(`{"TaskGroups":[{"Name":"i","Tasks":[{"Name":"web"}]}]}`)
	sa, _ := a.Complete(job)
	sb, _ := b.Complete(job)
	if jobspecs.Hash(sa) != jobspecs.Hash(sb) {
		t.Error("hashes differ")
	}
}
