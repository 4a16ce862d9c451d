package pulls_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/pulls"
)

// The texts after "Docker" are what Nomad 1.11.3 with Docker's engine 20.10.24 reported, or
// that engine alone, when a registry behaved so. Those after "Documented" were not seen: they
// are in the sources and documents of newer engines, of Docker Hub, and of Podman's driver.
var messages = []struct {
	want wadi.PullFailure
	text string
}{
	// Docker.
	{wadi.PullNoTag, "Failed to pull `127.0.0.1:5055/good/app:nope`: Error response from daemon: manifest for 127.0.0.1:5055/good/app:nope not found: manifest unknown: Unknown manifest"},
	{wadi.PullNoTag, "Failed to pull `127.0.0.1:5055/good/app@sha256:aaaa`: Error response from daemon: manifest for 127.0.0.1:5055/good/app@sha256:aaaa not found: manifest unknown: Unknown manifest"},
	{wadi.PullNoImage, "Failed to pull `127.0.0.1:5055/none/app:1`: Error response from daemon: repository 127.0.0.1:5055/none/app not found: name unknown: Unknown name"},
	{wadi.PullTooMany, "Failed to pull `127.0.0.1:5055/limited/app:1`: Error response from daemon: toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit"},
	{wadi.PullTooMany, "Failed to pull `127.0.0.1:5055/limitedplain/app:1`: Error response from daemon: error parsing HTTP 429 response body: unexpected end of JSON input: \"\""},
	{wadi.PullTooMany, "Failed to pull `127.0.0.1:5055/blob429/app:1`: error pulling image configuration: download failed after attempts=1: error parsing HTTP 429 response body: unexpected end of JSON input: \"\""},
	{wadi.PullUnauthorised, "Failed to pull `127.0.0.1:5055/denied/app:1`: Error response from daemon: denied"},
	{wadi.PullUnauthorised, "Failed to pull `127.0.0.1:5055/unauth/app:1`: Error response from daemon: unauthorized"},
	{wadi.PullUnauthorised, "Failed to pull `127.0.0.1:5055/blobdeny/app:1`: error pulling image configuration: download failed after attempts=1: error parsing HTTP 403 response body: unexpected end of JSON input: \"\""},
	{wadi.PullAway, "Failed to pull `127.0.0.1:5055/broken/app:1`: Error response from daemon: received unexpected HTTP status: 500 Internal Server Error"},
	{wadi.PullAway, "Failed to pull `127.0.0.1:5055/unavail/app:1`: Error response from daemon: received unexpected HTTP status: 503 Service Unavailable"},
	{wadi.PullAway, "Failed to pull `127.0.0.1:5055/html/app:1`: Error response from daemon: error unmarshalling content: invalid character '<' looking for beginning of value"},
	{wadi.PullAway, "Failed to pull `127.0.0.1:5059/x:1`: Error response from daemon: Get \"http://127.0.0.1:5059/v2/\": dial tcp 127.0.0.1:5059: connect: connection refused"},
	{wadi.PullAway, "Failed to pull `no.such.invalid/x:1`: Error response from daemon: Get \"https://no.such.invalid/v2/\": dial tcp: lookup no.such.invalid on 10.0.0.53:53: no such host"},
	{wadi.PullNotLoaded, "Failed to pull `localhost/wadi/hello:9.9`: Get \"http://localhost/v2/\": dial tcp 127.0.0.1:80: connect: connection refused"},
	{wadi.PullAway, "Failed to pull `localhost:5000/wadi/hello:9.9`: Get \"http://localhost:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused"},
	{wadi.PullAway, "Failed to pull `r.example/localhost/x:1`: Get \"http://r.example/v2/\": dial tcp 192.0.2.2:80: connect: connection refused"},
	{wadi.PullTooMany, "Failed to pull `localhost/x:1`: Error response from daemon: toomanyrequests: slower"},
	{wadi.PullTLS, "Failed to pull `192.0.2.2:5071/x:1`: Error response from daemon: Get \"https://192.0.2.2:5071/v2/\": http: server gave HTTP response to HTTPS client"},
	{wadi.PullTLS, "Failed to pull `192.0.2.2:5072/x:1`: Error response from daemon: Get \"https://192.0.2.2:5072/v2/\": x509: certificate is valid for 127.0.0.1, ::1, not 192.0.2.2"},
	{wadi.PullTimeout, "Failed to pull `192.0.2.2:5073/x:1`: Error response from daemon: Get \"https://192.0.2.2:5073/v2/\": net/http: TLS handshake timeout"},
	{wadi.PullCorrupt, "Failed to pull `127.0.0.1:5055/corrupt/app:1`: filesystem layer verification failed for digest sha256:d047046c640293a73501641add91f0685ce2e44a3ad25ac5761c8c5ff23de173"},
	{wadi.PullCorrupt, "Failed to pull `127.0.0.1:5055/missingblob/app:1`: error pulling image configuration: download failed after attempts=1: unknown blob"},
	{wadi.PullDiskFull, "Failed to pull `127.0.0.1:5055/good/big:1`: failed to register layer: Error processing tar file(exit status 1): write /pad: no space left on device"},
	{wadi.PullArchitecture, "Failed to pull `127.0.0.1:5055/good/armindex:1`: no matching manifest for linux/amd64 in the manifest list entries"},
	{wadi.PullInvalid, "unable to create local docker image \"127.0.0.1:5055/UPPER/x:1\": does not match registry specification"},
	{wadi.PullEngineAway, "failed to fetch docker daemon info: Cannot connect to the Docker daemon at unix:///run/docker.sock. Is the docker daemon running?"},

	// Documented.
	{wadi.PullUnauthorised, "Failed to pull `nosuchimage:1`: Error response from daemon: pull access denied for nosuchimage, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"},
	{wadi.PullUnauthorised, "Failed to pull `r.example/x:1`: Error response from daemon: Head \"https://r.example/v2/x/manifests/1\": no basic auth credentials"},
	{wadi.PullUnauthorised, "Failed to find docker auth for repo \"r.example/x\": docker-credential-ecr-login with input \"r.example/x\" failed with stderr: no such token"},
	{wadi.PullTimeout, "Failed to pull `r.example/x:1`: Error response from daemon: Get \"https://r.example/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"},
	{wadi.PullTimeout, "Failed to pull `r.example/x:1`: context deadline exceeded"},
	{wadi.PullTLS, "Failed to pull `r.example/x:1`: Error response from daemon: Get \"https://r.example/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority"},
	{wadi.PullTooMany, "Failed to pull `r.example/x:1`: Error response from daemon: error from registry: You have reached your unauthenticated pull rate limit. toomanyrequests"},
	{wadi.PullArchitecture, "Failed to start container abc: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/app\": exec format error: unknown"},
	{wadi.PullNoTag, "failed to start task, unable to pull image quay.io/x/y:nope : initializing source docker://quay.io/x/y:nope: reading manifest nope in quay.io/x/y: manifest unknown"},
	{wadi.PullUnauthorised, "failed to start task, unable to pull image quay.io/x/y:1 : initializing source docker://quay.io/x/y:1: reading manifest 1 in quay.io/x/y: unauthorized: access to the requested resource is not authorized"},
	{wadi.PullTooMany, "failed to start task, unable to pull image docker.io/x/y:1 : initializing source docker://x/y:1: reading manifest 1 in docker.io/x/y: toomanyrequests: You have reached your pull rate limit."},
	{wadi.PullAway, "failed to start task, unable to pull image r.invalid/y:1 : pinging container registry r.invalid: Get \"https://r.invalid/v2/\": dial tcp: lookup r.invalid: no such host"},
	{wadi.PullInvalid, "invalid image reference UPPER: parsing named reference \"UPPER\": invalid reference format: repository name must be lowercase"},
	{wadi.PullOther, "Failed to pull `r.example/x:1`: the moon is in the way"},

	// Other problems.
	{"", "Exit Code: 1, Exit Message: \"Docker container exited with non-zero exit code: 1\""},
	{"", "failed to launch command with executor: rpc error: code = Unknown desc = binary \"/no/such/thing\" could not be found"},
	{"", "failed to launch command with executor: rpc error: code = Unknown desc = fork/exec /opt/app: exec format error"},
	{"", "failed to create container: Error response from daemon: denied"},
	{"", "waits for nomad.var.block(nomad/jobs/a@default.global)"},
	{"", "Exit Code: 1: 429 Too Many Requests, no space left on device"},
	{"", ""},
}

func TestClassify(t *testing.T) {
	for _, tt := range messages {
		if got := pulls.Classify(tt.text); got != tt.want {
			t.Errorf("got %q, want %q: %s", string(got), string(tt.want), tt.text)
		}
		// As a diagnosis has it.
		if got := pulls.Classify("task web: " + tt.text); got != tt.want {
			t.Errorf("of a task: got %q, want %q: %s", string(got), string(tt.want), tt.text)
		}
	}
}

// The name of an image is its user's, and must not decide what its failure is called.
func TestClassify_NamesDoNotMatter(t *testing.T) {
	for _, name := range []string{"denied/unauthorized:toomanyrequests", "r.example/manifest-unknown/x509:1", "no.such.host:5000/timeout"} {
		got := pulls.Classify("Failed to pull `" + name + "`: Error response from daemon: received unexpected HTTP status: 500 Internal Server Error")
		if got != wadi.PullAway {
			t.Errorf("%s: got %q, want %q", name, got, wadi.PullAway)
		}
		got = pulls.Classify("Failed to pull `" + name + "`: Error response from daemon: manifest for " + name + " not found: manifest unknown")
		if got != wadi.PullNoTag {
			t.Errorf("%s: got %q, want %q", name, got, wadi.PullNoTag)
		}
		repository, _, _ := strings.Cut(name, ":1")
		got = pulls.Classify("Failed to pull `" + repository + ":1@sha256:aa`: Error response from daemon: repository " + repository + " not found: name unknown: Unknown name")
		if got != wadi.PullNoImage {
			t.Errorf("%s: got %q, want %q", repository, got, wadi.PullNoImage)
		}
	}
}

// A message may come from anybody who answers as a registry: whatever is in it, there is an
// answer.
func FuzzClassify(f *testing.F) {
	for _, tt := range messages {
		f.Add(tt.text)
	}
	f.Add("Failed to pull `")
	f.Add("Failed to pull ``")
	f.Add(strings.Repeat("Failed to pull `", 1000))
	f.Fuzz(func(t *testing.T, text string) {
		if kind := pulls.Classify(text); kind != "" && (kind.String() == "" || kind.Remedy() == "") {
			t.Errorf("%q has no words", kind)
		}
	})
}

// The page for users has each kind with its remedy.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/images.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range wadi.PullFailures() {
		waits := "waits"
		if k.Hopeless() {
			waits = "fails"
		}
		if row := fmt.Sprintf("| %s | %s | %s |", k, waits, k.Remedy()); !strings.Contains(string(page), row) {
			t.Errorf("docs/images.md lacks the row\n%s", row)
		}
	}
}

func TestPullFailures(t *testing.T) {
	hopeless := 0
	for _, k := range wadi.PullFailures() {
		if k.String() == "" || k.Remedy() == "" {
			t.Errorf("%s has no words", k)
		}
		if k.Hopeless() {
			hopeless++
		}
	}
	if hopeless != 6 || wadi.PullFailure("").Hopeless() || wadi.PullFailure("").String() != "" {
		t.Errorf("%d kinds are hopeless, want 6", hopeless)
	}
}
