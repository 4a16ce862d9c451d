package jobspecs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/jobspecs"
)

const specPage = "../docs/spec.md"

// row is one setting of the page's tables.
type row struct{ kind, standard, bounds, change string }

var specRow = regexp.MustCompile("^\\| `([a-z0-9_.]+)` \\| ([^|]*) \\| ([^|]*) \\| ([^|]*) \\| ([^|]*) \\| [^|]+ \\|$")

// specRows reads the tables of docs/spec.md.
func specRows(t *testing.T) map[string]row {
	t.Helper()
	rows := map[string]row{}
	for line := range strings.Lines(string(read(t, specPage))) {
		m := specRow.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		if _, twice := rows[m[1]]; twice {
			t.Errorf("the page has %s twice", m[1])
		}
		rows[m[1]] = row{kind: m[2], standard: m[3], bounds: m[4], change: m[5]}
	}
	return rows
}

// docs/spec.md has every setting, with the type, the default, the bounds and the effect of
// a change that the code has, and no other.
func TestDocs_Spec(t *testing.T) {
	rows := specRows(t)
	labelled := map[string]bool{}
	for _, s := range jobspecs.Settings() {
		labelled[s.Path] = s.Label
	}
	var missing strings.Builder
	for _, s := range jobspecs.Settings() {
		if s.Block {
			continue
		}
		want := row{kind: kindOf(t, s.Path, labelled), standard: standardOf(t, s.Path, labelled), bounds: boundsOf(t, s.Path, labelled), change: changeOf(t, s.Path, labelled)}
		got, ok := rows[s.Path]
		delete(rows, s.Path)
		switch {
		case !ok:
			fmt.Fprintf(&missing, "| `%s` | %s | %s | %s | %s | … |\n", s.Path, want.kind, want.standard, want.bounds, want.change)
		case got != want:
			t.Errorf("%s: the page says %q, the code %q", s.Path, got, want)
		}
	}
	if missing.Len() > 0 {
		t.Errorf("the page lacks:\n%s", missing.String())
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		t.Errorf("the page has %s, which is no setting", name)
	}
}

// Its sections are the blocks of a service.
func TestDocs_SpecBlocks(t *testing.T) {
	page := string(read(t, specPage))
	for _, s := range jobspecs.Settings() {
		name := s.Path[strings.LastIndexByte(s.Path, '.')+1:]
		heading := "\n### " + strings.Join(strings.Split(s.Path, "."), " → ")
		if s.Label {
			heading += ` "` // The label follows.
		}
		if s.Block && !strings.Contains(page, heading) {
			t.Errorf("the page has no section%q for the block %s", heading, name)
		}
	}
}

// It says which settings the agent may have no defaults for.
func TestDocs_SpecDefaults(t *testing.T) {
	var own []string
	given := jobspecs.DefaultSettings()
	for _, s := range jobspecs.Settings() {
		if !strings.Contains(s.Path, ".") && !slices.Contains(given, s) {
			own = append(own, "`"+s.Path+"`")
		}
	}
	slices.Sort(own)
	want := "of every setting but " + strings.Join(own[:len(own)-1], ", ") + " and " + own[len(own)-1]
	if !strings.Contains(string(read(t, specPage)), want) {
		t.Errorf("the page does not say %q", want)
	}
}

// said are the messages about one value of a setting.
func said(t *testing.T, path, value string, labelled map[string]bool) string {
	t.Helper()
	name := path[strings.LastIndexByte(path, '.')+1:]
	src, _ := fieldSpec(path, labelled, name+" = "+value)
	_, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, jobspecs.Options{})
	var out strings.Builder
	for _, p := range problems {
		if unlabelled(p.Path) == path {
			fmt.Fprintln(&out, p.Message)
		}
	}
	return out.String()
}

// kindOf is the type of a setting, by what the reader demands in place of a map or a list.
func kindOf(t *testing.T, path string, labelled map[string]bool) string {
	t.Helper()
	demand := said(t, path, "{ a = [] }", labelled)
	for text, kind := range map[string]string{
		"a string is required": "string", "a duration in quotes is required": "duration", "a list of strings": "list of strings",
		"a map of strings": "map of strings", "true or false": "bool",
	} {
		if strings.Contains(demand, text) {
			return kind
		}
	}
	if strings.Contains(said(t, path, "1.5", labelled)+said(t, path, "301.5", labelled), "whole number") {
		return "whole number"
	}
	return "number"
}

var (
	between = regexp.MustCompile(`must be between (\S+) and (\S+), got`)
	greater = regexp.MustCompile(`must be greater than (\S+) and at most (\S+), got`)
	words   = regexp.MustCompile(`is not one of (.*)`)
	agents  = regexp.MustCompile(`the upper bound is the agent's ([a-z._]+)`)
)

// boundsOf are the bounds of a setting, by what the reader says about values beyond.
func boundsOf(t *testing.T, path string, labelled map[string]bool) string {
	t.Helper()
	all := said(t, path, "-7", labelled) + said(t, path, "1e30", labelled) + said(t, path, `"-7s"`, labelled) + said(t, path, `"no such word"`, labelled)
	if m := words.FindStringSubmatch(all); m != nil {
		return strings.ReplaceAll(m[1], `"`, "`")
	}
	if m := greater.FindStringSubmatch(all); m != nil {
		return "above " + m[1] + " to " + m[2]
	}
	m := between.FindStringSubmatch(all)
	if m == nil {
		return "–"
	}
	if a := agents.FindStringSubmatch(all); a != nil {
		return m[1] + " to `" + a[1] + "`"
	}
	return m[1] + " to " + m[2]
}

// inJSON are the settings whose names in a service's JSON differ.
var inJSON = map[string]string{"concurrency.limit": "concurrency_limit"}

// standardOf is the default of a setting.
func standardOf(t *testing.T, path string, labelled map[string]bool) string {
	t.Helper()
	if path == "sticky.cookie" { // Required where there is no header.
		return "see text"
	}
	if strings.Contains(said(t, path, "null", labelled), "required: ") {
		return "required"
	}
	switch {
	case path == "scale.metric.target" || path == "scale.metric.utilization":
		return "by the metric"
	case path == "traffic.percent":
		return "see text"
	case path == "route.redirect.code":
		return "`302`"
	case path == "route.redirect.scheme":
		return "`\"https\"`"
	case path == "rollout.duration", path == "rollout.hold", path == "rollout.max_p99":
		return "`\"0s\"`"
	case path == "rollout.steps", path == "rollout.max_error_percent":
		return "`0`"
	case path == "sticky.ttl":
		return "`\"24h\"`"
	case path == "rollout.error_codes", path == "mirror.methods":
		return "see text"
	case path == "scale.schedule.timezone":
		return "`\"UTC\"`"
	}
	drafts, _ := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte("service \"a\" {\n instance {\n}\n}\n")}, jobspecs.Options{})
	v := asJSON(t, drafts[0].Service)
	name := path
	if j, ok := inJSON[path]; ok {
		name = j
	}
	for part := range strings.SplitSeq(name, ".") {
		m, _ := v.(map[string]any)
		v = m[part]
	}
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			v = strings.TrimSuffix(strings.TrimSuffix(d.String(), "m0s")+"m", "sm")
			if !strings.HasSuffix(v, "m") {
				v += "s"
			}
		} else if v == "" {
			return "none"
		}
		return fmt.Sprintf("`%q`", v)
	case bool, float64:
		return fmt.Sprintf("`%v`", v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return "`" + string(text) + "`"
}

// others are two values of each setting, to see what a change of it does.
var others = map[string][2]string{
	"namespace": {`"a"`, `"b"`}, "datacenters": {`["a"]`, `["b"]`}, "node_pool": {`"a"`, `"b"`}, "priority": {`1`, `2`}, "port": {`80`, `81`}, "image_prefetch": {`true`, `false`},
	"protocol": {`"http1"`, `"h2c"`}, "visibility": {`"public"`, `"mesh"`}, "network": {`"bridge"`, `"host"`}, "mesh": {`"envoy"`, `"off"`},
	"resolve_images": {`"try"`, `"off"`},
	"meta":           {`{ a = "a" }`, `{ a = "b" }`}, "domains": {`["a.example"]`, `["b.example"]`}, "serving_task": {`"a"`, `"b"`},
	"probe.http": {`"/a"`, `"/b"`}, "probe.tcp": {`true`, `false`}, "probe.grpc": {`"a"`, `"b"`}, "probe.timeout": {`"1s"`, `"2s"`},
	"concurrency.limit": {`1`, `2`}, "timeout.request": {`"1s"`, `"2s"`}, "timeout.response_start": {`"1s"`, `"2s"`}, "timeout.idle": {`"1s"`, `"2s"`},
	"timeout.progress": {`"1s"`, `"2s"`}, "queue.depth": {`1`, `2`}, "queue.timeout": {`"1s"`, `"2s"`}, "queue.quiet": {`["/a"]`, `["/b"]`},
	"scale.min": {`1`, `2`}, "scale.max": {`1`, `2`}, "scale.initial": {`1`, `2`}, "scale.activation": {`1`, `2`}, "scale.window": {`"6s"`, `"7s"`},
	"scale.panic_window_percent": {`1`, `2`}, "scale.panic_threshold_percent": {`110`, `111`}, "scale.max_up_rate": {`2`, `3`}, "scale.max_down_rate": {`2`, `3`},
	"scale.down_delay": {`"1s"`, `"2s"`}, "scale.zero_grace": {`"1s"`, `"2s"`}, "scale.burst_capacity": {`1`, `2`}, "scale.dry_run": {`true`, `false`},
	"scale.manual_hold": {`"1s"`, `"2s"`}, "scale.metric.target": {`1`, `2`}, "scale.metric.utilization": {`0.5`, `0.6`},
	"scale.schedule.cron": {`"@daily"`, `"@hourly"`}, "scale.schedule.duration": {`"1h"`, `"2h"`}, "scale.schedule.timezone": {`"UTC"`, `"Europe/Berlin"`},
	"scale.schedule.min": {`1`, `2`}, "retention.keep": {`1`, `2`}, "retention.keep_for": {`"1h"`, `"2h"`}, "retention.keep_active_for": {`"1h"`, `"2h"`},
	"upstream.local_port": {`9000`, `9001`}, "traffic.revision": {`"latest"`, `"shop-00001"`},
	"traffic.percent": {`100`, `50`}, "traffic.tag": {`"a"`, `"b"`}, "intentions.allow": {`["a"]`, `["b"]`},
	"rollout.duration": {`"1m"`, `"2m"`}, "rollout.steps": {`1`, `2`}, "rollout.hold": {`"1s"`, `"2s"`},
	"rollout.max_error_percent": {`1`, `2`}, "rollout.max_p99": {`"1s"`, `"2s"`}, "rollout.error_codes": {`["5xx"]`, `["429"]`},
	"sticky.cookie": {`"a"`, `"b"`}, "sticky.ttl": {`"1h"`, `"2h"`}, "sticky.header": {`"a"`, `"b"`},
	"route.revision": {`"shop-00001"`, `"shop-00002"`}, "route.tag": {`"a"`, `"b"`}, "route.service": {`"a"`, `"b"`}, "route.prefix_rewrite": {`"/"`, `"/v1"`},
	"route.match.path": {`"/a"`, `"/b"`}, "route.match.path_prefix": {`"/a"`, `"/b"`}, "route.match.methods": {`["GET"]`, `["PUT"]`},
	"route.match.header.exact": {`"a"`, `"b"`}, "route.match.header.prefix": {`"a"`, `"b"`}, "route.match.header.suffix": {`"a"`, `"b"`}, "route.match.header.present": {`true`, `false`},
	"route.match.query.exact": {`"a"`, `"b"`}, "route.match.query.present": {`true`, `false`},
	"route.redirect.scheme": {`"http"`, `"https"`}, "route.redirect.host": {`"a.example.com"`, `"b.example.com"`}, "route.redirect.path": {`"/a"`, `"/b"`}, "route.redirect.code": {`301`, `302`},
	"mirror.tag": {`"a"`, `"b"`}, "mirror.percent": {`1`, `2`}, "mirror.methods": {`["GET"]`, `["POST"]`},
}

// changeOf is what a change of a setting does, by the hash of a revision.
func changeOf(t *testing.T, path string, labelled map[string]bool) string {
	t.Helper()
	if path == "namespace" || path == "protocol" {
		return "refused" // By admission, whose tests show it.
	}
	two, ok := others[path]
	if !ok {
		t.Fatalf("no two values are known of %s; add them to others", path)
	}
	var hashes, texts [2]string
	for i, v := range two {
		src, _ := fieldSpec(path, labelled, path[strings.LastIndexByte(path, '.')+1:]+" = "+v)
		drafts, _ := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, jobspecs.Options{})
		hashes[i] = jobspecs.Hash(drafts[0].Service)
		text, err := json.Marshal(drafts[0].Service)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	switch {
	case hashes[0] != hashes[1]:
		return "new revision"
	case texts[0] == texts[1]:
		t.Errorf("%s: the two values make the same service", path)
	}
	return "in place"
}

// The page's examples of whole services are services.
func TestDocs_SpecExamples(t *testing.T) {
	for i, part := range strings.Split(string(read(t, specPage)), "```hcl\n")[1:] {
		src, _, _ := strings.Cut(part, "```")
		if !strings.Contains(src, "\nservice ") && !strings.HasPrefix(src, "service ") {
			src = "service \"shop\" {\n instance {\n  task \"web\" {}\n }\n" + src + "\n}\n"
		}
		_, problems := jobspecs.Parse(jobspecs.File{Name: fmt.Sprintf("example-%d", i+1), Source: []byte(src)}, jobspecs.Options{})
		if len(problems) > 0 {
			t.Errorf("example %d:\n%s%s", i+1, src, texts(problems))
		}
	}
}
