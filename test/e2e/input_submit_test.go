//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// wadiIn runs the command line against the agent, in a folder with the files.
func wadiIn(t *testing.T, files map[string]string, args ...string) harness.Result {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ran, err := stack.Agent.Wadi(t.Context(), dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return ran
}

// wantRefused fails the test unless a command ended with 1 and printed all of want on
// standard error only.
func wantRefused(t *testing.T, ran harness.Result, want ...string) {
	t.Helper()
	if ran.Code != 1 || ran.Stdout != "" {
		t.Errorf("got %v\nwant exit code 1 and nothing on stdout", ran)
	}
	for _, w := range want {
		if !strings.Contains(ran.Stderr, w) {
			t.Errorf("got stderr %q, want %q in it", ran.Stderr, w)
		}
	}
	if strings.Contains(ran.Stderr, "panic") || strings.Contains(ran.Stderr, "goroutine") {
		t.Errorf("got a crash: %s", ran.Stderr)
	}
}

// wantNothing fails the test if anything of a service is in Nomad or Consul.
func wantNothing(t *testing.T, name string) {
	t.Helper()
	if got := tracesOf(t, name); len(got.jobs)+len(got.keys)+len(got.entries)+len(got.services) > 0 {
		t.Errorf("got traces %+v of what was refused, want none", got)
	}
}

// inner is a service whose instance block is as given, from line 3 on.
func inner(instance string) string {
	return "service \"badone\" {\n  instance {\n" + instance + "\n  }\n  mesh = \"off\"\n  network = \"host\"\n}\n"
}

// doubling are n locals, each twice as long as the one before.
func doubling(n int) string {
	all := "locals {\n a0 = \"0123456789abcdef\"\n"
	for i := range n {
		all += fmt.Sprintf(" a%d = \"${local.a%d}${local.a%d}\"\n", i+1, i, i)
	}
	return all + "}\n"
}

const goodTask = `    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
    }`

// Invalid submissions are refused with file and line, by the real command line and agent.
func TestInput_BadSubmissions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, hcl string
		want      []string
	}{
		{"broken", "service \"badone\" {\n  port = \n}\n", []string{"bad.hcl:2"}},
		{"unclosed", "service \"badone\" {\n", []string{"bad.hcl:1"}},
		{"empty", "", []string{"bad.hcl", "service"}},
		{"binary", "\x00\x01\xff\xfe", []string{"bad.hcl:1"}},
		{"unknown block", inner(goodTask) + "servise \"x\" {}\n", []string{"bad.hcl:13", "servise"}},
		{"unknown key", strings.Replace(inner(goodTask), "mesh =", "mash =", 1), []string{"bad.hcl:10", "mash"}},
		{"wrong type", strings.Replace(inner(goodTask), `mesh = "off"`, `port = "eighty"`, 1), []string{"bad.hcl:10", "port"}},
		{"out of range", strings.Replace(inner(goodTask), `mesh = "off"`, "port = 70000", 1), []string{"bad.hcl:10", "port", "65535"}},
		{"window", strings.Replace(inner(goodTask), `mesh = "off"`, `scale { window = "1s" }`, 1), []string{"bad.hcl:10", "scale.window", "6s"}},
		{"max below min", strings.Replace(inner(goodTask), `mesh = "off"`, "scale {\n min = 5\n max = 2\n}", 1), []string{"bad.hcl:1", "scale.max"}},
		{"bad name", strings.Replace(inner(goodTask), "badone", "Bad_One", 1), []string{"bad.hcl:1", "Bad_One"}},
		{"revision's name", strings.Replace(inner(goodTask), "badone", "badone-00001", 1), []string{"bad.hcl:1", "badone-00001"}},
		{"long name", strings.Replace(inner(goodTask), "badone", strings.Repeat("b", 41), 1), []string{"bad.hcl:1", "40"}},
		{"reserved name", strings.Replace(inner(goodTask), "badone", "wadi-activator", 1), []string{"bad.hcl:1", "wadi-activator"}},
		{"reserved port", strings.NewReplacer(`mesh = "off"`, "port = 8012", `network = "host"`, "").Replace(inner(goodTask)), []string{"bad.hcl:10", "8012"}},
		{"reserved variable", inner(strings.Replace(goodTask, "config {", "env {\n WADI_LISTEN = \"x\"\n }\n config {", 1)), []string{"bad.hcl:", "WADI_LISTEN"}},
		{"same name twice", inner(goodTask) + inner(goodTask), []string{"bad.hcl:13", "badone"}},
		{"Nomad's parser", inner(strings.Replace(goodTask, "driver", "drivver", 1)), []string{"bad.hcl:4", "drivver"}},
		{"Nomad's validation", inner(strings.Replace(goodTask, `driver = "raw_exec"`, `driver = ""`, 1)), []string{"bad.hcl:", "driver"}},
		{"no task", inner(""), []string{"bad.hcl:2", "task"}},
		{"two serving tasks", inner(goodTask + "\n" + strings.Replace(goodTask, "web", "web2", 1)), []string{"bad.hcl:", "serving_task"}},
		{"unknown serving task", strings.Replace(inner(goodTask), `mesh = "off"`, `serving_task = "wab"`, 1), []string{"bad.hcl:10", "wab"}},
		{"envoy with host", strings.Replace(inner(goodTask), `"off"`, `"envoy"`, 1), []string{"bad.hcl:1", "host"}},
		{"traffic", strings.Replace(inner(goodTask), `mesh = "off"`, "traffic {\n revision = \"latest\"\n percent = 99\n}", 1), []string{"bad.hcl:1", "100"}},
		{"undeclared variable", strings.Replace(inner(goodTask), `"hello"`, "var.nosuch", 1), []string{"bad.hcl:", "nosuch"}},
		{"doubling locals", doubling(40) + inner(strings.Replace(goodTask, `"hello"`, "local.a40", 1)), []string{"bad.hcl:", "Too much to evaluate"}},
		{"count", inner("    count = 3\n" + goodTask), []string{"bad.hcl:3", "count", "scale"}},
		{"scaling", inner("    scaling {\n max = 3\n }\n" + goodTask), []string{"bad.hcl:3", "scaling"}},
		{"update", inner("    update {}\n" + goodTask), []string{"bad.hcl:3", "update"}},
		{"network", inner("    network {\n mode = \"host\"\n }\n" + goodTask), []string{"bad.hcl:4", "network"}},
		{"port past the queue-proxy", strings.Replace(inner("    network {\n port \"x\" {\n to = 8080\n }\n }\n"+goodTask), `network = "host"`, "", 1), []string{"bad.hcl:4", "queue-proxy"}},
		{"task beside instance", strings.Replace(inner(goodTask), `mesh = "off"`, "mesh = \"off\"\n  env {}", 1), []string{"bad.hcl:11", "instance { task"}},
		{"shutdown_delay", inner("    shutdown_delay = \"5s\"\n" + goodTask), []string{"bad.hcl:3", "shutdown_delay"}},
		{"leader", inner(strings.Replace(goodTask, "driver", "leader = true\n      driver", 1)), []string{"bad.hcl:4", "leader"}},
		{"connect", inner("    service {\n name = \"x\"\n connect {\n native = true\n }\n }\n" + goodTask), []string{"bad.hcl:", "connect"}},
		{"our service", inner("    service {\n name = \"badone\"\n }\n" + goodTask), []string{"bad.hcl:", "badone"}},
		{"queue-proxy", inner(strings.Replace(goodTask, "web", "queue-proxy", 1)), []string{"bad.hcl:3", "queue-proxy"}},
		{"Envoy's name", inner(strings.Replace(goodTask, "web", "connect-proxy-web", 1)), []string{"bad.hcl:3", "connect-proxy-web"}},
		{"end of instance inside", inner(goodTask + "\n  }\n}\ngroup \"evil\" {\n  task \"x\" {"), []string{"bad.hcl:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, wadiIn(t, map[string]string{"bad.hcl": tt.hcl}, "apply", "bad.hcl"), tt.want...)
			ran := wadiIn(t, map[string]string{"bad.hcl": tt.hcl}, "validate", "bad.hcl")
			wantRefused(t, ran, tt.want...)
		})
	}
	wantNothing(t, "badone")
	wantNothing(t, "Bad_One")
}

// All mistakes of a file are reported at once, and as JSON for machines.
func TestInput_AllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	hcl := strings.NewReplacer(`mesh = "off"`, "mesh = \"of\"\n  prt = 1\n  port = 0\n").Replace(inner(goodTask))
	ran := wadiIn(t, map[string]string{"bad.hcl": hcl}, "apply", "bad.hcl")
	wantRefused(t, ran, "bad.hcl:10", "bad.hcl:11", "bad.hcl:12")
}

// Arguments that are no input files.
func TestInput_NoFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files map[string]string
		args  []string
		code  int
		want  string
	}{
		{"no such file", nil, []string{"apply", "nosuch.hcl"}, 1, "nosuch.hcl"},
		{"no argument", nil, []string{"apply"}, 2, "apply"},
		{"unknown flag", nil, []string{"apply", "-nosuch", "x.hcl"}, 2, "nosuch"},
		{"unknown command", nil, []string{"aply"}, 2, "aply"},
		{"empty folder", nil, []string{"apply", "."}, 1, "."},
		{"index of nothing", map[string]string{"x.hcl": "locals {}"}, []string{"apply", "-check-index", "1", "x.hcl"}, 2, "check-index"},
		{"index no number", map[string]string{"x.hcl": ""}, []string{"apply", "-check-index", "one", "x.hcl"}, 2, "one"},
		{"unknown service", nil, []string{"service", "status", "nosuch"}, 1, "nosuch"},
		{"bad service name", nil, []string{"service", "status", "../leader"}, 1, "../leader"},
		{"delete unknown", nil, []string{"service", "delete", "nosuch"}, 1, "nosuch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran := wadiIn(t, tt.files, tt.args...)
			if ran.Code != tt.code || !strings.Contains(ran.Stderr, tt.want) {
				t.Errorf("got %v\nwant exit code %d and %q on stderr", ran, tt.code, tt.want)
			}
		})
	}
}

// A file that is far too large is refused before it is read whole.
func TestInput_TooLarge(t *testing.T) {
	t.Parallel()
	large := inner(goodTask) + "# " + strings.Repeat("x", 2<<20) + "\n"
	wantRefused(t, wadiIn(t, map[string]string{"bad.hcl": large}, "apply", "bad.hcl"), "1048576")
	_, err := stack.Agent.Submit(t.Context(), large)
	if !errors.Is(err, wadi.ErrTooLarge) {
		t.Errorf("got error %v, want it too large", err)
	}
	wantNothing(t, "badone")
}

// If one of two files is bad, nothing is stored.
func TestInput_AllOrNothing(t *testing.T) {
	t.Parallel()
	good := strings.Replace(inner(goodTask), "badone", "goodone", 1)
	bad := inner(strings.Replace(goodTask, "driver", "drivver", 1))
	wantRefused(t, wadiIn(t, map[string]string{"a.hcl": good, "b.hcl": bad}, "apply", "a.hcl", "b.hcl"), "b.hcl:4")
	wantRefused(t, wadiIn(t, map[string]string{"a.hcl": good, "b.hcl": bad}, "apply", "."), "b.hcl:4")
	wantNothing(t, "goodone")
	wantNothing(t, "badone")
}

// Of many submissions of one service at the same moment exactly one wins; the others get a
// conflict, and leave nothing behind.
func TestInput_SubmittedAtOnce(t *testing.T) {
	t.Parallel()
	const n = 8
	race := func(index uint64) (won []api.Submitted, lost []error) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				out, err := stack.Agent.Client.Apply(t.Context(), api.Submission{
					Files:      []api.File{{Name: "race.hcl", Source: hello("raced", options{env: map[string]string{"N": fmt.Sprint(index, i)}})}},
					CheckIndex: map[string]uint64{"raced": index},
				})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					lost = append(lost, err)
				} else {
					won = append(won, out)
				}
			})
		}
		wg.Wait()
		return won, lost
	}
	t.Cleanup(func() { stack.Remove(t, "raced") })
	var index uint64
	for round := range 3 {
		won, lost := race(index)
		if len(won) != 1 || len(lost) != n-1 {
			t.Fatalf("round %d: got %d winners and %d losers, want 1 and %d: %v", round, len(won), len(lost), n-1, lost)
		}
		for _, err := range lost {
			if !errors.Is(err, wadi.ErrConflict) {
				t.Errorf("round %d: a loser got %v, want a conflict", round, err)
			}
		}
		s := won[0].Services[0]
		if want := wadi.RevisionID("raced", round+1); s.Revision != want {
			t.Errorf("round %d: got revision %s, want %s", round, s.Revision, want)
		}
		index = s.Index
		if err := stack.Agent.WaitReady(t.Context(), "raced", s.Generation); err != nil {
			t.Fatal(err)
		}
		stored, err := stack.Agent.Client.Revision(t.Context(), s.Revision)
		if err != nil {
			t.Fatal(err)
		}
		// A loser's registration may come last: Nomad's index guard lets several concurrent calls
		// win. The controller puts the stored job back.
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			job := jobOf(t, s.Revision)
			env := job.TaskGroups[0].Tasks[appTask(job)].Env["N"]
			if !strings.Contains(string(stored.Job), fmt.Sprintf("%q:%q", "N", env)) {
				return fmt.Errorf("round %d: Nomad runs N=%q, and the stored job is another: %s", round, env, stored.Job)
			}
			return nil
		})
		for _, j := range tracesOf(t, "raced").jobs {
			if _, number, ok := wadi.SplitRevisionID(j); !ok || number > round+1 {
				t.Errorf("round %d: got a stray job %s", round, j)
			}
		}
	}
	harnesstest.WantStatus(t, stack.Get(t, "raced", "/"), 200)
}

// A stale index is a conflict, and changes nothing.
func TestInput_StaleIndex(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("stale", options{}))
	s, err := stack.Agent.Client.Service(t.Context(), "stale")
	if err != nil {
		t.Fatal(err)
	}
	changed := hello("stale", options{env: map[string]string{"A": "b"}})
	for _, index := range []uint64{0, s.Index - 1, s.Index + 1} {
		ran := wadiIn(t, map[string]string{"s.hcl": changed}, "apply", "-check-index", fmt.Sprint(index), "s.hcl")
		wantRefused(t, ran, "s.hcl:1", fmt.Sprint(s.Index))
	}
	after, err := stack.Agent.Client.Service(t.Context(), "stale")
	if err != nil || after.Index != s.Index || after.Generation != s.Generation {
		t.Errorf("got index %d, generation %d, error %v; want %d and %d as before", after.Index, after.Generation, err, s.Index, s.Generation)
	}
	ran := wadiIn(t, map[string]string{"s.hcl": changed}, "apply", "-check-index", fmt.Sprint(s.Index), "s.hcl")
	if ran.Code != 0 {
		t.Errorf("the right index: got %v\nwant exit code 0", ran)
	}
}

// Foreign objects in Consul or Nomad under a needed name are not touched, and the name is
// refused.
func TestInput_ForeignNames(t *testing.T) {
	t.Parallel()
	if err := stack.Consul.Agent().ServiceRegister(&consul.AgentServiceRegistration{Name: "theirs", Port: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Consul.Agent().ServiceDeregister("theirs"); err != nil {
			t.Error(err)
		}
	})
	ran := wadiIn(t, map[string]string{"f.hcl": hello("theirs", options{})}, "apply", "f.hcl")
	wantRefused(t, ran, "f.hcl:1", "theirs", "Consul")

	job := nomad.NewServiceJob("theirjob-00001", "theirjob-00001", nomad.GlobalRegion, 50)
	job.AddDatacenter("dc1").AddTaskGroup(nomad.NewTaskGroup("none", 0).AddTask(nomad.NewTask("none", "raw_exec").SetConfig("command", "true")))
	if _, _, err := stack.Nomad.Jobs().Register(job, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, _, err := stack.Nomad.Jobs().Deregister("theirjob-00001", true, nil); err != nil {
			t.Error(err)
		}
	})
	ran = wadiIn(t, map[string]string{"f.hcl": hello("theirjob", options{})}, "apply", "f.hcl")
	wantRefused(t, ran, "f.hcl:1", "theirjob-00001", "Nomad")
	if got := jobOf(t, "theirjob-00001"); len(got.Meta) > 0 || *got.Version != 0 {
		t.Errorf("got their job with meta %v and version %d, want it untouched", got.Meta, *got.Version)
	}
	for _, name := range []string{"theirs", "theirjob"} {
		if _, err := stack.Agent.Client.Service(t.Context(), name); !errors.Is(err, wadi.ErrNotFound) {
			t.Errorf("got %v for the service %s, want it not found", err, name)
		}
	}
}

// The status codes of refusals, for clients that use HTTP directly.
func TestInput_StatusCodes(t *testing.T) {
	t.Parallel()
	base := "http://" + stack.Agent.API
	for _, tt := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"no JSON", "PUT", "/v1/services", "{", 400},
		{"empty body", "PUT", "/v1/services", "", 400},
		{"unknown key", "PUT", "/v1/services", `{"fils": []}`, 400},
		{"two values", "PUT", "/v1/services", `{"files": []} {}`, 400},
		{"no files", "PUT", "/v1/services", `{"files": []}`, 400},
		{"bad HCL", "PUT", "/v1/services", `{"files": [{"name": "a.hcl", "source": "service {"}]}`, 400},
		{"too large", "PUT", "/v1/services", `{"files": [{"name": "a.hcl", "source": "` + strings.Repeat("x", 5<<20) + `"}]}`, 413},
		{"method", "POST", "/v1/services", "", 405},
		{"path", "GET", "/v2/nothing", "", 404},
		{"service", "GET", "/v1/service/nosuch", "", 404},
		{"service's path", "GET", "/v1/service/..%2fleader", "", 404},
		{"revision", "GET", "/v1/revision/nosuch-00001", "", 404},
		{"delete", "DELETE", "/v1/service/nosuch", "", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, base+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := harness.Do(http.DefaultClient, req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Status != tt.want || !strings.HasPrefix(res.Body, `{"error":"`) {
				t.Errorf("got %d %s, want %d and an error in JSON", res.Status, res.Body, tt.want)
			}
		})
	}
}
