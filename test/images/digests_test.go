//go:build e2e

package images_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// tagged is a service of the example app in a container; more is put beside it.
func tagged(name, image string, more ...string) string {
	return fmt.Sprintf(`service %q {
  network = "host"
  mesh    = "off"
  %s
  instance {
    task "web" {
      driver = "docker"
      config {
        image = %q
      }
      resources {
        cpu    = 20
        memory = 64
      }
    }
  }
}
`, name, strings.Join(more, "\n  "), image)
}

// unstarted has a service ready without an instance: nothing is pulled.
const unstarted = "scale {\n initial = 0\n }"

func serveRegistry(t *testing.T, o containers.RegistryOptions) *containers.Registry {
	t.Helper()
	r, err := containers.StartRegistry(o)
	harnesstest.Must(t, "start a registry", err)
	t.Cleanup(r.Close)
	return r
}

// pushVersion pushes the example app with a version that its answers have, and returns its
// digest.
func pushVersion(t *testing.T, r *containers.Registry, ref, version string) string {
	t.Helper()
	// Its registry keeps it apart from images of other tests on the same engine.
	image, err := containers.Built("hello", containers.Env("VERSION="+version), containers.Label("registry", r.Address()))
	harnesstest.Must(t, "make the image", err)
	digest, err := r.Push(ref, image)
	harnesstest.Must(t, "push", err)
	return digest
}

// versions asks a service until so many instances have answered, and returns which versions
// they are of, sorted.
func versions(t *testing.T, service string, instances int) []string {
	t.Helper()
	seen := map[string]string{} // Versions by instance.
	client := stack.Client(t)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL(service, "/"), nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		var revision, instance string
		if _, err := fmt.Fscanf(res.Body, "hello from %s (instance %8s)", &revision, &instance); err != nil {
			return fmt.Errorf("status %d: %w", res.StatusCode, err)
		}
		if seen[instance] = res.Header.Get("Hello-Version"); len(seen) < instances {
			return fmt.Errorf("%d instances answered, want %d", len(seen), instances)
		}
		return nil
	})
	return slices.Sorted(maps.Values(seen))
}

// forget removes an image from the engine, so that the next start needs it from its
// registry. Containers of it keep running.
func forget(t *testing.T, refs ...string) {
	t.Helper()
	for _, ref := range refs {
		if _, err := engine.Docker(t.Context(), "rmi", "-f", ref); err != nil && !strings.Contains(err.Error(), "No such image") {
			t.Fatalf("remove %s: %v", ref, err)
		}
	}
}

func revision(t *testing.T, id string) wadi.Revision {
	t.Helper()
	rev, err := stack.Agent.Client.Revision(t.Context(), id)
	harnesstest.Must(t, "read "+id, err)
	return rev
}

// One revision never answers with two versions side by side, also once its tag has moved and
// its image is gone from the engine. Without digests it does.
func TestDigests_OneRevisionRunsOneImage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mode string
		want []string
	}{{"try", []string{"old", "old"}}, {"off", []string{"new", "old"}}} {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			r := serveRegistry(t, containers.RegistryOptions{})
			name, ref := "moved-"+tt.mode, r.Ref("app:1")
			old := pushVersion(t, r, "app:1", "old")
			stack.Deploy(t, tagged(name, ref, fmt.Sprintf("resolve_images = %q", tt.mode)))
			if got := versions(t, name, 1); !slices.Equal(got, []string{"old"}) {
				t.Fatalf("at first %v answer", got)
			}
			pushVersion(t, r, "app:1", "new")
			forget(t, ref, r.Ref("app@"+old))
			_, err := stack.Agent.Client.Override(t.Context(), name, "", 2, 10*time.Minute)
			harnesstest.Must(t, "scale up", err)
			if got := versions(t, name, 2); !slices.Equal(got, tt.want) {
				t.Errorf("after its tag moved the revision answers with %v, want %v", got, tt.want)
			}
		})
	}
}

// With a digest Nomad asks no registry about latest at later starts.
func TestDigests_LatestIsPulledOnce(t *testing.T) {
	t.Parallel()
	r := serveRegistry(t, containers.RegistryOptions{})
	pushVersion(t, r, "app:latest", "old")
	stack.Deploy(t, tagged("latest", r.Ref("app")))
	pushVersion(t, r, "app:latest", "new")
	r.ResetCounts()
	_, err := stack.Agent.Client.Override(t.Context(), "latest", "", 2, 10*time.Minute)
	harnesstest.Must(t, "scale up", err)
	if got := versions(t, "latest", 2); !slices.Equal(got, []string{"old", "old"}) {
		t.Errorf("the revision answers with %v", got)
	}
	if n := r.Count(); n > 0 {
		t.Errorf("the registry was asked %d times for the second instance", n)
	}
}

// The same file is another revision once its tag has moved, and says so; where the tag stays
// nothing changes. Traffic to the earlier revision brings back what ran then.
func TestDigests_TheSameFileAfterTheTagMoved(t *testing.T) {
	t.Parallel()
	r := serveRegistry(t, containers.RegistryOptions{})
	ref := r.Ref("app:1")
	digest := pushVersion(t, r, "app:1", "old")
	dir := t.TempDir()
	quick := "scale {\n window = \"6s\"\n }"
	file := tagged("again", ref, quick)
	harnesstest.Must(t, "write the file", os.WriteFile(filepath.Join(dir, "again.hcl"), []byte(file), 0o600))
	wadiRun := func(wantCode int, args ...string) string {
		t.Helper()
		res, err := stack.Agent.Wadi(t.Context(), dir, args...)
		harnesstest.Must(t, "run wadi", err)
		if res.Code != wantCode {
			t.Fatalf("wadi %v ends with %d:\n%s%s", args, res.Code, res.Stdout, res.Stderr)
		}
		return res.Stdout + res.Stderr
	}
	wants := func(text string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(text, p) {
				t.Errorf("%q is missing in:\n%s", p, text)
			}
		}
	}
	stack.Deploy(t, file)
	first := revision(t, "again-00001")
	if want := []wadi.Image{{Task: "web", Name: ref, Digest: digest}}; !slices.Equal(first.Images, want) {
		t.Errorf("images %+v, want %+v", first.Images, want)
	}
	job, _, err := stack.Nomad.Jobs().Info("again-00001", nil)
	harnesstest.Must(t, "read the job", err)
	if got := job.TaskGroups[0].Tasks[0].Config["image"]; got != ref+"@"+digest || job.Meta["wadi_image_web"] != ref+"@"+digest {
		t.Errorf("Nomad's job has the image %v, and the meta %v", got, job.Meta)
	}
	wants(wadiRun(0, "service", "status", "again"), ref, wadi.ShortDigest(digest))
	wants(wadiRun(0, "service", "status", "-json", "again"), `"digest": "`+digest+`"`)
	wants(wadiRun(0, "revision", "inspect", "again-00001"), `"digest": "`+digest+`"`)
	wants(wadiRun(0, "revision", "job", "-hcl", "again-00001"), ref+"@"+digest)
	wants(wadiRun(0, "plan", "again.hcl"), "unchanged, revision again-00001")
	wants(wadiRun(0, "apply", "-detach", "again.hcl"), "unchanged, revision again-00001")

	next := pushVersion(t, r, "app:1", "new")
	moved := fmt.Sprintf("image web: %s moved from %s to %s", ref, wadi.ShortDigest(digest), wadi.ShortDigest(next))
	wants(wadiRun(1, "plan", "again.hcl"), "new revision again-00002, for image of web", moved, ref+"@"+digest, ref+"@"+next)
	wants(wadiRun(0, "apply", "again.hcl"), moved, "again-00002")
	if got := versions(t, "again", 1); !slices.Equal(got, []string{"new"}) {
		t.Errorf("after apply %v answer", got)
	}
	if now := revision(t, "again-00001"); string(now.Job) != string(first.Job) {
		t.Error("the job of the first revision changed")
	}
	r.SetFault(containers.Fault{Status: 503})
	wants(wadiRun(0, "apply", "-detach", "again.hcl"), "unchanged, revision again-00002", "Warning", "stays at the digest of the revision before, "+wadi.ShortDigest(next))

	r.SetFault()
	stack.ToZero(t, "again-00001")
	forget(t, ref, r.Ref("app@"+digest)) // The way back must not depend on what a node has.
	stack.Deploy(t, tagged("again", ref, quick, `traffic {
    revision = "again-00001"
    percent  = 100
  }`))
	// The traffic moves when an instance of it is ready.
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if got := versions(t, "again", 1); !slices.Equal(got, []string{"old"}) {
			return fmt.Errorf("after the way back %v answer", got)
		}
		return nil
	})
}

// Without an answer of the registry, require refuses at the line and leaves nothing; try
// submits the tag and says why, where people look.
func TestDigests_WithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault containers.Fault
		ref   string
		want  string
	}{
		{"silent", containers.Fault{Delay: 10 * time.Minute}, "app:1", "did not answer within"},
		{"failing", containers.Fault{Status: 500}, "app:1", "answers 500"},
		{"busy", containers.Fault{Status: 429, RetryAfter: time.Hour}, "app:1", "answers no more requests"},
		{"cut", containers.Fault{Drop: true}, "app:1", "registry"},
		{"unknown", containers.Fault{Times: 1, Kinds: []containers.Kind{containers.KindOther}}, "app:2", `no tag "2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := serveRegistry(t, containers.RegistryOptions{})
			pushVersion(t, r, "app:1", "old")
			r.SetFault(tt.fault)
			name := "without-" + tt.name
			_, err := stack.Agent.Submit(t.Context(), tagged(name, r.Ref(tt.ref), unstarted, `resolve_images = "require"`))
			var refusal *api.Error
			if !errors.As(err, &refusal) || refusal.Status != 422 || len(refusal.Details) != 1 || refusal.Details[0].Line != 12 ||
				!strings.Contains(err.Error(), tt.want) {
				t.Errorf("require answers %v, want %q at line 12", err, tt.want)
			}
			if _, err := stack.Agent.Client.Service(t.Context(), name); !errors.Is(err, wadi.ErrNotFound) {
				t.Errorf("after the refusal the service is there: %v", err)
			}
			if _, _, err := stack.Nomad.Jobs().Info(name+"-00001", nil); err == nil {
				t.Error("after the refusal its job is there")
			}
			got := stack.Deploy(t, tagged(name, r.Ref(tt.ref), unstarted))[0]
			if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, tt.want) || !strings.Contains(text, "may be another image at each start") {
				t.Errorf("try warns %q, want %q", text, tt.want)
			}
			if rev := revision(t, got.Revision); rev.Images[0].Digest != "" || !strings.Contains(rev.Images[0].Warning, tt.want) {
				t.Errorf("images %+v", rev.Images)
			}
			harnesstest.Must(t, "wait for the condition", stack.Agent.WaitCondition(t.Context(), name, harnesstest.WaitLong, "ImagesResolved", func(c wadi.Condition) bool {
				return c.Type == control.ConditionImages && !c.OK && strings.Contains(c.Message, tt.want)
			}))
			var events []wadi.Event
			harnesstest.Must(t, "read events", stack.Agent.Client.Events(t.Context(), api.EventQuery{Service: name}, func(e wadi.Event) error {
				events = append(events, e)
				return nil
			}))
			if !slices.ContainsFunc(events, func(e wadi.Event) bool { return e.Type == control.EventImage && strings.Contains(e.Message, tt.want) }) {
				t.Errorf("no event says so: %+v", events)
			}
			r.SetFault()
			if tt.ref != "app:1" {
				return
			}
			if got := stack.Deploy(t, tagged(name, r.Ref(tt.ref), unstarted))[0]; !got.NewRevision || len(got.Warnings) > 0 || len(got.Moved) != 1 {
				t.Errorf("once the registry answers: %+v", got)
			}
		})
	}
}

// The agent asks with its own credentials, and they are in no answer and no log.
func TestDigests_Credentials(t *testing.T) {
	t.Parallel()
	for _, token := range []bool{false, true} {
		t.Run(fmt.Sprintf("token %t", token), func(t *testing.T) {
			const password = "pass-4711-word"
			r := serveRegistry(t, containers.RegistryOptions{Username: "puller", Password: password, Token: token})
			digest := pushVersion(t, r, "app:1", "old")
			name := fmt.Sprintf("private-%t", token)
			spec := tagged(name, r.Ref("app:1"), unstarted, `resolve_images = "require"`)
			login(t, nil)
			if _, err := stack.Agent.Submit(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "images.docker_config") {
				t.Errorf("without credentials: %v", err)
			}
			login(t, map[string]string{r.Address(): "puller:wrong"})
			if _, err := stack.Agent.Submit(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "refuses the credentials") {
				t.Errorf("with a wrong password: %v", err)
			}
			login(t, map[string]string{r.Address(): "puller:" + password})
			sub := stack.Deploy(t, spec)[0]
			rev := revision(t, sub.Revision)
			if rev.Images[0].Digest != digest {
				t.Errorf("images %+v, want the digest %s", rev.Images, digest)
			}
			all, err := json.Marshal([]any{sub, rev})
			harnesstest.Must(t, "write", err)
			for where, text := range map[string]string{"the answers": string(all), "the agent's log": stack.Agent.Tail(100_000)} {
				for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte("puller:" + password))} {
					if strings.Contains(text, secret) {
						t.Errorf("%s has the password", where)
					}
				}
			}
		})
	}
}

// login replaces the agent's credentials.
func login(t *testing.T, users map[string]string) {
	t.Helper()
	auths := map[string]any{}
	for registry, user := range users {
		auths[registry] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user))}
	}
	data, err := json.Marshal(map[string]any{"auths": auths})
	harnesstest.Must(t, "write", err)
	next := agent.dockerConfig() + ".next"
	harnesstest.Must(t, "write", errors.Join(os.WriteFile(next, data, 0o600), os.Rename(next, agent.dockerConfig())))
}

// A registry whose certificate is of an authority of its own is asked once the agent trusts
// that. On loopback nothing has to be trusted, so it is at the machine's own address.
func TestDigests_TLS(t *testing.T) {
	t.Parallel()
	r := serveRegistry(t, containers.RegistryOptions{TLS: true, Address: net.JoinHostPort(stack.Cluster.HostIP, "0")})
	digest := pushVersion(t, r, "app:1", "old")
	spec := tagged("trusted", r.Ref("app:1"), unstarted, `resolve_images = "require"`)
	if _, err := stack.Agent.Submit(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "images.ca_file") {
		t.Errorf("without its authority: %v", err)
	}
	dir := filepath.Join(agent.certs(), r.Address())
	harnesstest.Must(t, "write the authority", errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "ca.crt"), r.CA(), 0o600)))
	sub := stack.Deploy(t, spec)[0]
	if rev := revision(t, sub.Revision); rev.Images[0].Digest != digest {
		t.Errorf("images %+v, want the digest %s", rev.Images, digest)
	}
}
