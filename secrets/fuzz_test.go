package secrets_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/secrets"
)

// FuzzRedact: whatever the JSON, nothing panics, what is shown is JSON of a bounded size with
// every text outside of secrets as it was, and shown again it is the same.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{
		`{"Tasks": [{"Name": "web", "Config": {"auth": [{"password": "x", "username": "keep"}]}, "Env": {"A": "keep"}}]}`,
		`{"Tasks": [{"Config": {"auth": {"password": 12, "password": null}, "image": "a:b@c/d"}, "Artifacts": [{"GetterSource": "https://a:b@c"}]}]}`,
		`{"TaskGroups": [{"Tasks": [{"Name": "queue-proxy", "Env": {"X_TOKEN": "é\u2028"}}]}]}`,
		`[[[[{"o": "password=x,password=y"}]]]]`, `{"Volumes": {"a": {"MountOptions": {"MountFlags": ["password=\ud800"]}}}}`,
		`{"Tasks": [{"Config": {"auth": [{"password": "${A}"}]}, "Env": {"A": "${B}", "B": "${A}x"}, "Templates": [{"Envvars": true, "EmbeddedTmpl": "A=b\nB={{ \"x\" }}"}]}]}`,
		"{\"a\":\xff}", `"-----BEGIN PRIVATE KEY-----`, strings.Repeat("[", 20_000), strings.Repeat(`{"auth":`, 3000) + `{"password":"x"}` + strings.Repeat("}", 3000), "", "null", "1 2",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		shown := secrets.Redact(data)
		if len(shown) > 16*len(data)+100 {
			t.Fatalf("%d bytes became %d", len(data), len(shown))
		}
		if len(data) > 0 && !json.Valid(shown) {
			t.Fatalf("no JSON: %q", shown)
		}
		if again := secrets.Redact(shown); !bytes.Equal(again, shown) {
			t.Fatalf("shown again %q is %q", shown, again)
		}
		found := secrets.In(data, "x")
		if len(secrets.Certain(found)) == 0 && json.Valid(data) && !strings.Contains(string(data), "queue-proxy") &&
			!strings.Contains(strings.ToLower(string(data)), "connect") && len(data) < 5000 && !bytes.Equal(shown, data) {
			t.Fatalf("without a secret %q became %q", data, shown)
		}
		_ = secrets.Text(string(data))
	})
}

// Certain secrets beside any other JSON are hidden, and the other JSON is as it was.
func FuzzRedact_Beside(f *testing.F) {
	f.Add([]byte(`{"a": [1, 2.50, "\u0041"]}`), "secret")
	f.Add([]byte(`null`), `"\`)
	f.Fuzz(func(t *testing.T, other []byte, secret string) {
		if !json.Valid(other) || secret == "" || strings.Contains(secret, "$") || len(secrets.In(other, "")) > 0 || len(other) > 4000 {
			return
		}
		value, err := json.Marshal(secret)
		if err != nil {
			return
		}
		before := []byte(`{"other": ` + string(other) + `, "Tasks": [{"Config": {"auth": [{"password": `)
		shown := secrets.Redact(append(append(bytes.Clone(before), value...), "}]}}]}"...))
		if want := string(before) + `"` + secrets.Hidden + `"}]}}]}`; string(shown) != want && len(secrets.Certain(secrets.In([]byte(`{"other": `+string(other)+`}`), ""))) == 0 {
			t.Fatalf("got %s, want %s", shown, want)
		}
	})
}
