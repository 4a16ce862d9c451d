package policies_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/policies"
)

// all is what an installation with the defaults needs.
var all = policies.Options{Prefix: policies.DefaultPrefix, Namespaces: []string{policies.Everywhere}, Intentions: true}

// These are the rights that agents have in the end-to-end tests, with ACLs. A change here is
// a change of what operators have to grant.
func TestPolicies_Rights(t *testing.T) {
	some := policies.Options{Prefix: "one/", Namespaces: []string{"team", "shop-*"}}
	for name, tt := range map[string]struct {
		got  policies.Policy
		want string
	}{
		"Nomad": {policies.Nomad(all), `namespace "*" { capabilities = ["submit-job", "read-job", "list-jobs"] }
node { policy = "read" }
`},
		"Nomad, some namespaces": {policies.Nomad(some), `namespace "team" { capabilities = ["submit-job", "read-job", "list-jobs"] }
namespace "shop-*" { capabilities = ["submit-job", "read-job", "list-jobs"] }
node { policy = "read" }
`},
		"Consul": {policies.Consul(all), `key_prefix "wadi/" { policy = "write" }
session_prefix "" { policy = "write" }
node_prefix "" { policy = "read" }
agent_prefix "" { policy = "read" }
service_prefix "" { policy = "write" intentions = "write" }
`},
		"Consul, without intentions": {policies.Consul(some), `key_prefix "one/" { policy = "write" }
session_prefix "" { policy = "write" }
node_prefix "" { policy = "read" }
agent_prefix "" { policy = "read" }
service_prefix "" { policy = "write" }
`},
		"of remedies alone": {policies.Policy{policies.OwnServices(), policies.Service("hello", true), policies.Service("hello", false), policies.ReadIntentions()},
			`service_prefix "wadi" { policy = "write" }
service "hello" { policy = "write" intentions = "write" }
service "hello" { policy = "write" }
service_prefix "" { policy = "read" intentions = "read" }
`},
	} {
		if diff := cmp.Diff(tt.want, tt.got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// With comments a policy gives the same rights as in short, and is formatted.
func TestPolicies_HCL(t *testing.T) {
	for name, p := range map[string]policies.Policy{"Nomad": policies.Nomad(all), "Consul": policies.Consul(all)} {
		text := p.HCL()
		if diff := cmp.Diff(string(hclwrite.Format([]byte(text))), text); diff != "" {
			t.Errorf("%s is not formatted (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(p.String(), short(t, text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// short is a policy's text, read by HCL's own parser, with a line for each rule.
func short(t *testing.T, text string) string {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(text), "policy.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, text)
	}
	var b strings.Builder
	for _, block := range f.Body.(*hclsyntax.Body).Blocks {
		b.WriteString(block.Type)
		for _, label := range block.Labels {
			b.WriteString(` "` + label + `"`)
		}
		b.WriteString(" {")
		for _, name := range []string{"capabilities", "policy", "intentions"} {
			if a := block.Body.Attributes[name]; a != nil {
				v, diags := a.Expr.Value(nil)
				if diags.HasErrors() {
					t.Fatal(diags)
				}
				b.WriteString(" " + name + " = " + spelled(v))
			}
		}
		b.WriteString(" }\n")
	}
	return b.String()
}

func spelled(v cty.Value) string {
	if v.Type() == cty.String {
		return `"` + v.AsString() + `"`
	}
	var each []string
	for _, e := range v.AsValueSlice() {
		each = append(each, spelled(e))
	}
	return "[" + strings.Join(each, ", ") + "]"
}

// Above each right is a line that says what breaks without it, and no line is too wide.
func TestPolicies_Comments(t *testing.T) {
	for name, p := range map[string]policies.Policy{"Nomad": policies.Nomad(all), "Consul": policies.Consul(all)} {
		lines, rights, told := strings.Split(p.HCL(), "\n"), 0, 0
		for _, r := range p {
			rights += len(r.Rights)
		}
		for i, line := range lines {
			if len(line) > 110 {
				t.Errorf("%s: %d characters: %s", name, len(line), line)
			}
			why, is := strings.CutPrefix(strings.TrimSpace(line), "# Without it ")
			if !is {
				continue
			}
			told++
			if len(why) < 20 || !strings.HasSuffix(why, ".") || strings.HasSuffix(why, "..") || strings.Contains(lines[i+1], "#") {
				t.Errorf("%s: %q, above %q", name, line, lines[i+1])
			}
		}
		if told != rights {
			t.Errorf("%s: %d of %d rights have a comment", name, told, rights)
		}
	}
}

// The names of the agents themselves begin with the prefix that OwnServices gives rights to.
func TestOwnServices(t *testing.T) {
	for _, name := range append(wadi.Activators(), wadi.ServiceAgent, wadi.ServiceGateway) {
		if !strings.HasPrefix(name, wadi.ServiceAgent) {
			t.Errorf("no right to %q", name)
		}
	}
}
