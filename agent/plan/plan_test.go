package plan_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/plan"
	"github.com/wadi-run/wadi/jobspecs"
)

// full is a service with a value in every setting.
func full(t *testing.T) wadi.Service {
	t.Helper()
	grpc := "app"
	s := wadi.Service{
		Name: "a", Namespace: "n", Datacenters: []string{"dc1"}, NodePool: "p", Priority: 50, Port: 80, Protocol: wadi.GRPC,
		Domains: []string{"a.example"}, Visibility: wadi.Public, ServingTask: "web", Network: wadi.Bridge, Mesh: wadi.MeshEnvoy,
		Upstreams: []wadi.Upstream{{Service: "b", LocalPort: 1}}, Instance: json.RawMessage(`{"Name": "x"}`),
		Probe:            wadi.Probe{HTTP: "/", TCP: true, GRPC: &grpc, Timeout: 1},
		ConcurrencyLimit: 1, Timeout: wadi.Timeouts{Request: 1, ResponseStart: 1, Idle: 1, Progress: 1},
		Queue: wadi.Queue{Depth: 1, Timeout: 1, Quiet: []string{"/q"}},
		Scale: wadi.Scaling{
			Min: 1, Max: 2, Initial: 1, Activation: 1, Window: 1, PanicWindowPercent: 1, PanicThresholdPercent: 1, MaxUpRate: 1, MaxDownRate: 1,
			DownDelay: 1, ZeroGrace: 1, BurstCapacity: 1, DryRun: true, ManualHold: 1,
			Metrics:   []wadi.MetricTarget{{Metric: wadi.CPU, Target: 1, Utilization: 1}},
			Schedules: []wadi.Schedule{{Name: "s", Cron: "c", Duration: 1, Timezone: "z", Min: 1}},
		},
		Traffic: []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100, Tag: "t"}}, Retention: wadi.Retention{Keep: 1, KeepFor: new(wadi.Duration(1)), KeepActiveFor: new(wadi.Duration(1))},
		Rollout:    &wadi.Rollout{Duration: 1, Steps: 1, Hold: 1, MaxErrorPercent: 1, MaxP99: 1, ErrorCodes: []string{"5xx"}},
		Intentions: &wadi.Intentions{Allow: []string{"b"}}, Meta: map[string]string{"team": "x"},
		ResolveImages: wadi.ResolveTry, ImagePrefetch: true,
		Sticky: &wadi.Sticky{Cookie: "c", TTL: 1, Header: "h"}, Mirror: &wadi.Mirror{Tag: "t", Percent: 1, Methods: []string{"GET"}},
		Routes: []wadi.RouteRule{{
			Name: "v2", Revision: "a-00001", Tag: "t", Service: "b", PrefixRewrite: "/", Redirect: &wadi.Redirect{Scheme: "https", Host: "h", Path: "/", Code: 302},
			Match: wadi.RuleMatch{
				Path: "/", PathPrefix: "/", Methods: []string{"GET"},
				Headers: []wadi.FieldMatch{{Name: "x", Exact: "1", Prefix: "1", Suffix: "1", Present: true}},
				Query:   []wadi.FieldMatch{{Name: "q", Exact: "1", Prefix: "1", Suffix: "1", Present: true}},
			},
		}},
	}
	wantNoZero(t, "service", reflect.ValueOf(s))
	return s
}

// wantNoZero fails where a field has no value: a new setting must be in the tests below.
func wantNoZero(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			wantNoZero(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case v.IsZero():
		t.Errorf("%s has no value in this test", path)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		wantNoZero(t, path+"[0]", v.Index(0))
	}
}

// Each setting is found when it changes, and its note says what Hash does.
func TestSettings_EachOfThem(t *testing.T) {
	base := full(t)
	raw, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	walk(t, raw, func(changed wadi.Service, at string) {
		seen++
		got := plan.Settings(&base, &changed)
		if len(got) == 0 {
			t.Errorf("a change of %s is not found", at)
			return
		}
		forces := slices.ContainsFunc(got, func(c wadi.Change) bool { return c.Note != "" })
		if news := jobspecs.Hash(base) != jobspecs.Hash(changed); news != forces {
			t.Errorf("%s: a new revision %t, but the plan says %+v", at, news, got)
		}
	})
	if seen < 50 {
		t.Errorf("only %d settings were changed", seen)
	}
}

// walk calls fn with the service once for each value in its JSON, with that value changed.
func walk(t *testing.T, raw []byte, fn func(s wadi.Service, at string)) {
	t.Helper()
	var count func(v any, path string, visit func(path string, set func(any), old any))
	count = func(v any, path string, visit func(string, func(any), any)) {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				if composite(v[k]) {
					count(v[k], path+"."+k, visit)
				} else {
					visit(path+"."+k, func(x any) { v[k] = x }, v[k])
				}
			}
		case []any:
			for i := range v {
				if composite(v[i]) {
					count(v[i], path+"[]", visit)
				} else {
					visit(path+"[]", func(x any) { v[i] = x }, v[i])
				}
			}
		}
	}
	var top any
	if err := json.Unmarshal(raw, &top); err != nil {
		t.Fatal(err)
	}
	count(top, "", func(path string, set func(any), old any) {
		if strings.HasPrefix(path, ".instance") || path == ".name" {
			return
		}
		set(another(old))
		b, err := json.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		var s wadi.Service
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		set(old)
		fn(s, path)
	})
}

func composite(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

func another(v any) any {
	switch v := v.(type) {
	case bool:
		return !v
	case float64:
		return v + 1
	case string:
		if strings.HasSuffix(v, "s") && len(v) < 6 && v[0] >= '0' && v[0] <= '9' {
			return "7s" // A duration.
		}
		return v + "x"
	}
	return v
}

func TestSettings_Names(t *testing.T) {
	a, b := full(t), full(t)
	b.ConcurrencyLimit, b.Scale.Metrics[0].Target, b.Scale.Schedules, b.Upstreams[0].LocalPort = 9, 5, nil, 2
	b.Meta, b.Traffic[0].Percent = map[string]string{"metrics": "y"}, 90
	var got []string
	for _, c := range plan.Settings(&a, &b) {
		got = append(got, fmt.Sprintf("%s %s %s>%s %s", c.Kind, c.Name, c.Old, c.New, c.Note))
	}
	want := []string{
		`edited concurrency.limit 1>9 forces a new revision`,
		`added meta.metrics >"y" `,
		`deleted meta.team "x"> `,
		`edited scale.metric "cpu".target 1>5 `,
		`deleted scale.schedule "s".cron "c"> `,
		`deleted scale.schedule "s".duration "1ns"> `,
		`deleted scale.schedule "s".min 1> `,
		`deleted scale.schedule "s".timezone "z"> `,
		`edited traffic "latest@t".percent 100>90 `,
		`edited upstream "b".local_port 1>2 forces a new revision`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("settings (-want +got):\n%s", d)
	}
}

// What the agent's operator wrote into the tasks of Wadi is not shown, whatever it is.
func TestWithoutOwn(t *testing.T) {
	edited := func(name string, parts ...wadi.Change) wadi.Change {
		return wadi.Change{Kind: wadi.ChangeEdited, Name: name, Changes: parts}
	}
	field := func(name, value string) wadi.Change {
		return wadi.Change{Kind: wadi.ChangeEdited, Name: name, Old: value, New: value + "2"}
	}
	secret := func(task string) wadi.Change {
		return edited(task, field("Env[WADI_QUIET]", "shown"), field("Env[TOKEN]", "hidden"), field("KillTimeout", "shown"),
			edited("Config", field("auth[0][password]", "hidden"), edited("x", field("Env[WADI_X]", "hidden"))))
	}
	job := edited(`Job: "a"`, edited(`Task Group: "instance"`,
		secret(`Task: "queue-proxy"`), secret(`Task: "connect-proxy-a"`),
		edited("Service", edited("ConsulConnect", secret("SidecarTask"))),
		edited(`Task: "web"`, field("Env[TOKEN]", "shown"))))
	text, err := json.Marshal(plan.WithoutOwn(job))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hidden") {
		t.Errorf("the operator's values are shown: %s", text)
	}
	if n := strings.Count(string(text), "shown"); n != 2*7+3 { // Old and new; "not shown" thrice.
		t.Errorf("%d times shown: %s", n, text)
	}
}

// A difference is bounded in its parts and in the length of each value.
func TestBound(t *testing.T) {
	long := strings.Repeat("é", 10_000)
	wide := wadi.Change{Kind: wadi.ChangeEdited, Name: long}
	for range 300 {
		part := wadi.Change{Kind: wadi.ChangeEdited, Name: "part"}
		for range 300 {
			part.Changes = append(part.Changes, wadi.Change{Kind: wadi.ChangeEdited, Name: "x", Old: long, New: long})
		}
		wide.Changes = append(wide.Changes, part)
	}
	b, err := json.Marshal(plan.Bound(wide))
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 1100*2300 || strings.Contains(string(b), strings.Repeat("é", 501)) {
		t.Errorf("%d bytes", len(b))
	}
	if !strings.Contains(string(b), "parts more") {
		t.Error("it is not said that something is left out")
	}
	small := wadi.Change{Kind: wadi.ChangeEdited, Name: "a", Changes: []wadi.Change{{Kind: wadi.ChangeAdded, Name: "b", New: "1"}}}
	if d := cmp.Diff(small, plan.Bound(small)); d != "" {
		t.Errorf("a small one is not as it was:\n%s", d)
	}
}

func TestCompare(t *testing.T) {
	decode := func(text string) (v any) {
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	got := plan.Compare("e", decode(`{"a": 1, "same": {"x": [1]}, "list": [1, {"k": "<v>"}], "gone": {"y": true}, "shape": 1}`),
		decode(`{"a": 2, "same": {"x": [1]}, "list": [1, {"k": "w"}, 3], "new": "n", "shape": {"z": 1}}`))
	want := wadi.Change{Kind: wadi.ChangeEdited, Name: "e", Changes: []wadi.Change{
		{Kind: wadi.ChangeEdited, Name: "a", Old: "1", New: "2"},
		{Kind: wadi.ChangeDeleted, Name: "gone", Changes: []wadi.Change{{Kind: wadi.ChangeDeleted, Name: "y", Old: "true"}}},
		{Kind: wadi.ChangeEdited, Name: "list", Changes: []wadi.Change{
			{Kind: wadi.ChangeEdited, Name: "[1]", Changes: []wadi.Change{{Kind: wadi.ChangeEdited, Name: "k", Old: `"<v>"`, New: `"w"`}}},
			{Kind: wadi.ChangeAdded, Name: "[2]", New: "3"},
		}},
		{Kind: wadi.ChangeAdded, Name: "new", New: `"n"`},
		{Kind: wadi.ChangeEdited, Name: "shape", Changes: []wadi.Change{
			{Kind: wadi.ChangeDeleted, Name: "", Old: "1"}, {Kind: wadi.ChangeAdded, Name: "z", New: "1"},
		}},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestShares(t *testing.T) {
	got := plan.Shares([]wadi.RouteTarget{{Revision: "a-00001", Weight: 9000}, {Revision: "a-00002", Weight: 1000, Tag: "t"}, {Revision: "a-00003"}},
		[]wadi.RouteTarget{{Revision: "a-00002", Weight: 1000, Tag: "t"}, {Revision: "a-00004", Weight: 8000}, {Revision: "a-00003", Weight: 1000}})
	var text []string
	for _, s := range got {
		text = append(text, fmt.Sprintf("%s %s@%s %v>%v", s.Kind(), s.Revision, s.Tag, s.Before, s.After))
	}
	want := []string{"deleted a-00001@ 90>0", "none a-00002@t 10>10", "edited a-00003@ 0>10", "added a-00004@ 0>80"}
	if d := cmp.Diff(want, text); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// The route is that of the time when all that the traffic names is ready.
func TestRoute(t *testing.T) {
	s := wadi.Service{Name: "a", Traffic: []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 90}, {Revision: "a-00001", Percent: 10}}}
	revs := []wadi.Revision{{ID: "a-00001", Number: 1}, {ID: "a-00002", Number: 2}, {ID: "a-00003", Number: 3}}
	state := wadi.State{Revisions: map[string]wadi.RevisionState{"a-00001": {Phase: wadi.Failed, Reason: "x"}, "a-00002": {Phase: wadi.Ready}}}
	got := plan.Route(s, "a-00003", revs, state)
	want := []wadi.RouteTarget{{Revision: "a-00003", Weight: 9000}, {Revision: "a-00001", Weight: 1000}}
	if d := cmp.Diff(want, got.Targets); d != "" || got.Revisions["a-00001"].Failed != "" {
		t.Errorf("(-want +got):\n%s\n%+v", d, got)
	}
	if state.Revisions["a-00001"].Phase != wadi.Failed {
		t.Error("the state was changed")
	}
}

func TestBases(t *testing.T) {
	state := wadi.State{Revisions: map[string]wadi.RevisionState{"a-00004": {Phase: wadi.Retired}}}
	var revs []wadi.Revision
	for n := 1; n <= 6; n++ {
		revs = append(revs, wadi.Revision{ID: wadi.RevisionID("a", n), Number: n})
	}
	var got []int
	for _, r := range plan.Bases(revs, state) {
		got = append(got, r.Number)
	}
	if d := cmp.Diff([]int{6, 5, 3}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
