package admission_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/webhook"
)

const marker = "m4rk3r-7f3a"

// login is a service with a registry's password.
func login(password string) string {
	return strings.Replace(spec("hello", "/bin/a"), "command =", "auth {\n          password = \""+password+"\"\n        }\n        command =", 1)
}

// A password is refused before a webhook, the store or the log has it; a reference is not.
func TestSubmit_Password(t *testing.T) {
	b := newBench(t)
	var log bytes.Buffer
	b.Log = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
	judge := b.with(t, webhook.Config{Name: "judge"}, `{"allowed": true}`)
	for name, do := range map[string]func(admission.Request) error{
		"submit":   func(r admission.Request) error { _, err := b.Submit(t.Context(), r); return err },
		"validate": func(r admission.Request) error { _, err := b.Validate(t.Context(), r); return err },
		"plan":     func(r admission.Request) error { _, err := b.Plan(t.Context(), r); return err },
	} {
		err := do(request(login(marker)))
		if err == nil || !strings.Contains(err.Error(), "a.hcl:10,22: instance.task.web.config.auth.password: ") || strings.Contains(err.Error(), marker) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	b.untouched(t)
	if asked := judge.questions(); len(asked) > 0 {
		t.Errorf("a webhook was asked: %v", asked)
	}
	if strings.Contains(log.String(), marker) {
		t.Errorf("it is in the log: %s", &log)
	}
	b.submit(t, request(login("${REGISTRY_PASSWORD}")))
}

// A webhook can't add what a user may not write.
func TestSubmit_PasswordOfAWebhook(t *testing.T) {
	for _, operation := range []string{
		`{"op": "add", "path": "/instance/Tasks/0/Config/auth", "value": {"password": "` + marker + `"}}`,
		`{"op": "add", "path": "/instance/Tasks/0/Artifacts", "value": [{"GetterSource": "https://u:` + marker + `@x/y"}]}`,
	} {
		b := newBench(t)
		b.with(t, webhook.Config{Name: "policy", Mutate: true}, patch(operation))
		refusal := b.refused(t, request(spec("hello", "/bin/a")), http.StatusUnprocessableEntity, `admission webhook "policy" made it wrong: `, "would be stored in clear")
		if strings.Contains(refusal.Error(), marker) {
			t.Errorf("the refusal has it: %v", refusal)
		}
		b.untouched(t)
	}
}

// A variable with the name of a secret is warned of.
func TestSubmit_SecretVariable(t *testing.T) {
	b := newBench(t)
	r := request("variable \"db_password\" {}\nvariable \"token\" {\n  type = number\n}\n" + spec("hello", "/bin/a"))
	r.Variables = map[string]string{"db_password": marker, "token": marker}
	if refusal := b.refused(t, r, http.StatusBadRequest, "var.token: the given value does not fit"); strings.Contains(refusal.Error(), marker) {
		t.Errorf("the refusal has it: %v", refusal)
	}
	r.Variables["token"] = "1"
	out := b.submit(t, r)
	if len(out.Warnings) != 1 || out.Warnings[0].Path != "var.db_password" || strings.Contains(out.Warnings[0].Message, marker) {
		t.Errorf("warnings: %v", out.Warnings)
	}
}
