//go:build e2e

package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// conformanceTime bounds the run of Schemathesis.
const conformanceTime = 80 * time.Second

// config says what Schemathesis has to know of this API. Validity of a submission's source is
// beyond a schema, so that 400, 409 and 422 are answers to what a schema allows; 404 and 409 are
// those about services that an earlier case deleted.
const config = `
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "413", "422"]
negative_data_rejection.expected-statuses = ["400", "404", "405", "409", "413", "422"]
# A deleted service stays until its instances have ended.
use_after_free.enabled = false
ensure_resource_availability.enabled = false
# The rights of callers have tests of their own, on a cluster with ACLs.
ignored_auth.enabled = false

# Without follow=false, which a negative case leaves out, the stream of events has no end.
[[operations]]
include-path = "/v1/events"
generation.mode = "positive"
phases.coverage.enabled = false
`

// Schemathesis, a public tool, compares a running agent with api/openapi.json: statuses, headers
// and bodies are the documented ones, bad input is refused, and nothing is answered with 500.
func TestAPI_IsAsDescribed(t *testing.T) {
	tools, _ := toolchain.Locate(t.Context())
	if tools.Schemathesis == "" {
		t.Skip("the API is not compared with its description: no schemathesis (make tools; it needs Python with pip)")
	}
	stack.Deploy(t, harnesstest.Hello("tested", `min = 0`, ""))
	dir := t.TempDir()
	document := filepath.Join(dir, "openapi.json")
	harnesstest.Must(t, "write the document", os.WriteFile(document, testable(t), 0o600))
	harnesstest.Must(t, "write the configuration", os.WriteFile(filepath.Join(dir, "schemathesis.toml"), []byte(config), 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), conformanceTime+20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, tools.Schemathesis, "run", document, "--url", "http://"+stack.Agent.API,
		"--phases", "examples,coverage,fuzzing", "--checks", "all", "--max-examples", "15", "--generation-deterministic",
		"--no-shrink", "--continue-on-failure", "--request-timeout", "15", "--no-color", "--warnings", "off")
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) || err != nil {
		t.Errorf("schemathesis: %v\n%s", err, out)
	}
	if tested := strings.Count(string(stack.Agent.Tail(1<<20)), "request: "); tested < 500 {
		t.Errorf("the agent had %d requests only: was everything tested?\n%s", tested, out)
	}
	t.Logf("%s", out)
}

// testable is the document, changed so that a test can tell more: answers have no further keys,
// names are those of services that there are, submissions can run here, and no request waits for
// minutes.
func testable(t *testing.T) []byte {
	t.Helper()
	var doc map[string]any
	harnesstest.Must(t, "read the document", json.Unmarshal(api.OpenAPI(), &doc))
	components := doc["components"].(map[string]any)
	for _, s := range components["schemas"].(map[string]any) {
		if s := s.(map[string]any); s["type"] == "object" {
			s["additionalProperties"] = false
		}
	}
	parameters := components["parameters"].(map[string]any)
	only := func(name string, values ...any) {
		parameters[name].(map[string]any)["schema"] = map[string]any{"type": "string", "enum": values}
	}
	only("name", "tested", "nobody")
	only("revision", "tested-00001", "nobody-00001")
	only("wait", "1ms", "50ms", "0")
	paths := doc["paths"].(map[string]any)
	for path, item := range paths {
		for method, op := range item.(map[string]any) {
			if path == "/v1/agent/reload" && method == "put" {
				delete(item.(map[string]any), method)
				continue
			}
			for _, p := range list(op.(map[string]any)["parameters"]) {
				bound(p.(map[string]any))
			}
		}
	}
	submission := map[string]any{"files": []any{map[string]any{"name": "tested.hcl", "source": harnesstest.Hello("tested", `min = 0`, "")}}}
	for _, path := range []string{"/v1/services", "/v1/services/validate", "/v1/services/plan"} {
		for _, op := range paths[path].(map[string]any) {
			if body, ok := op.(map[string]any)["requestBody"].(map[string]any); ok {
				body["content"].(map[string]any)["application/json"].(map[string]any)["example"] = submission
			}
		}
	}
	b, err := json.Marshal(doc)
	harnesstest.Must(t, "write the document", err)
	return b
}

// bound keeps a request from taking long.
func bound(p map[string]any) {
	switch p["name"] {
	case "wait":
		p["schema"] = map[string]any{"type": "string", "enum": []any{"1ms", "50ms", "0"}}
	case "follow":
		p["schema"], p["required"] = map[string]any{"type": "string", "enum": []any{"false"}}, true
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}
