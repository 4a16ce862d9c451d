package secrets_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/secrets"
)

// group is a task group with one task that has fields.
func group(fields string) json.RawMessage {
	return json.RawMessage(`{"Name": "instance", "Tasks": [{"Name": "web", "Driver": "docker", ` + fields + `}]}`)
}

const marker = "m4rk3r-7f3a"

// What is certainly a secret is found in every shape, is not in what is said about it, and is
// not in what is shown.
func TestIn_Certain(t *testing.T) {
	key := `-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEI` + marker[:6] + strings.Repeat("A", 60) + `\n-----END EC PRIVATE KEY-----\n`
	for name, tt := range map[string]struct{ fields, path string }{
		"a block":                {`"Config": {"auth": [{"username": "u", "password": "m4rk3r-7f3a"}]}`, "instance.task.web.config.auth.password"},
		"a map":                  {`"Config": {"auth": {"password": "m4rk3r-7f3a"}}`, "instance.task.web.config.auth.password"},
		"two blocks":             {`"Config": {"auth": [{"password": "${A}"}, {"password": "m4rk3r-7f3a"}]}`, "instance.task.web.config.auth.password"},
		"lists of lists":         {`"Config": {"auth": [[{"x": [{"password": ["m4rk3r-7f3a"]}]}]]}`, "instance.task.web.config.auth.x.password"},
		"another case":           {`"config": {"Auth": [{"PassWord": "m4rk3r-7f3a"}]}`, "instance.task.web.config.Auth.PassWord"},
		"a key that comes twice": {`"Config": {"auth": [{"password": "m4rk3r-7f3a", "password": "${A}"}]}`, "instance.task.web.config.auth.password"},
		"beside a reference":     {`"Config": {"auth": [{"password": "${A}m4rk3r-7f3a"}]}`, "instance.task.web.config.auth.password"},
		"an expression":          {`"Config": {"auth": [{"password": "${\"m4rk3r-7f3a\"}"}]}`, "instance.task.web.config.auth.password"},
		"an identity token":      {`"Config": {"auth": [{"identitytoken": "m4rk3r-7f3a"}]}`, "instance.task.web.config.auth.identitytoken"},
		"before the registry":    {`"Config": {"image": "me:m4rk3r-7f3a@registry.example/web:1"}`, "instance.task.web.config.image"},
		"its variable":           {`"Config": {"auth": [{"password": "${A}"}]}, "Env": {"A": "m4rk3r-7f3a"}`, "instance.task.web.env.A"},
		"its variable's own":     {`"Config": {"auth": [{"password": "${env[\"A\"]}"}]}, "Env": {"A": "${B}", "B": "m4rk3r-7f3a"}`, "instance.task.web.env.B"},
		"its meta":               {`"Config": {"auth": [{"password": "${NOMAD_META_a_b}"}]}, "Meta": {"a-b": "m4rk3r-7f3a"}`, "instance.task.web.meta.a-b"},
		"its template":           {`"Config": {"auth": [{"password": "${A}"}]}, "Templates": [{}, {"Envvars": true, "EmbeddedTmpl": "X=1\nexport A = m4rk3r-7f3a\n"}]`, "instance.task.web.template[1].data"},
		"a constant action":      {`"Config": {"auth": [{"password": "${A}"}]}, "Templates": [{"Envvars": true, "EmbeddedTmpl": "A={{ \"m4rk3r-7f3a\" }}"}]`, "instance.task.web.template[0].data"},
		"an artifact's URL":      {`"Artifacts": [{"GetterSource": "git::https://u:m4rk3r-7f3a@example.com/x?ref=1"}]`, "instance.task.web.artifact[0].source"},
		"an artifact's key":      {`"Artifacts": [{"GetterSource": "git::ssh://git@example.com/x?sshkey=m4rk3r-7f3a"}]`, "instance.task.web.artifact[0].source"},
		"an artifact's option":   {`"Artifacts": [{"GetterSource": "s3::https://x", "GetterOptions": {"aws_access_key_secret": "m4rk3r-7f3a"}}]`, "instance.task.web.artifact[0].options.aws_access_key_secret"},
		"an artifact's header":   {`"Artifacts": [{"GetterHeaders": {"authorization": "Bearer m4rk3r-7f3a"}}]`, "instance.task.web.artifact[0].headers.authorization"},
		"a mount":                {`"Config": {"mounts": [{"volume_options": [{"driver_config": [{"options": [{"o": "addr=1,username=u,password=m4rk3r-7f3a"}]}]}]}]}`, "instance.task.web.config.mounts.volume_options.driver_config.options.o"},
		"a private key":          {`"Templates": [{"EmbeddedTmpl": "` + key + `"}]`, "instance.task.web.template[0].data"},
		"a login of Docker":      {`"Templates": [{"EmbeddedTmpl": "{\"auths\": {\"r\": {\"auth\": \"m4rk3r-7f3a\"}}}"}]`, "instance.task.web.template[0].data"},
		"an encrypted key":       {`"Env": {"A": "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMHcCAQEEI` + strings.Repeat("A", 60) + `m4rk3r-7f3a"}`, "instance.task.web.env.A"},
		"a key of PGP":           {`"Env": {"A": "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: x-1\n\nMHcCAQEEI` + strings.Repeat("A", 60) + `\n-----END PGP PRIVATE KEY BLOCK-----"}`, "instance.task.web.env.A"},
		"a password with signs":  {`"Env": {"A": "{\"auths\": {\"r\": {\"password\": \"a$b{m4rk3r-7f3a\"}}}"}`, "instance.task.web.env.A"},
		"a quote in a password":  {`"Env": {"A": "{\"auths\": {\"r\": {\"password\": \"a\\\"m4rk3r-7f3a\"}}}"}`, "instance.task.web.env.A"},
		"what Wadi showed":       {`"Config": {"args": ["(hidden-by-wadi)m4rk3r"]}`, "instance.task.web.config.args"},
	} {
		t.Run(name, func(t *testing.T) {
			data := group(tt.fields)
			certain := secrets.Certain(secrets.In(data, "instance"))
			if len(certain) != 1 || certain[0].Path != tt.path {
				t.Fatalf("found %+v, want %s", certain, tt.path)
			}
			if strings.Contains(certain[0].Message, "m4rk3r") || !strings.Contains(certain[0].Message, "secrets.md") {
				t.Errorf("it says %q", certain[0].Message)
			}
			shown := secrets.Redact(data)
			if name != "what Wadi showed" && strings.Contains(string(shown), marker) || strings.Contains(string(shown), "MHcCAQ") || !json.Valid(shown) {
				t.Errorf("it is shown: %s", shown)
			}
			if again := secrets.Redact(shown); string(again) != string(shown) {
				t.Errorf("shown again it is %s", again)
			}
		})
	}
}

func TestIn_Mount(t *testing.T) {
	data := json.RawMessage(`{"Volumes": {"data": {"MountOptions": {"MountFlags": ["ro", "password=m4rk3r-7f3a"]}}}}`)
	got := secrets.In(data, "instance")
	if len(got) != 1 || !got[0].Certain || got[0].Path != "instance.volume.data.mount_options.mount_flags[1]" {
		t.Errorf("found %+v", got)
	}
	if want := strings.Replace(string(data), marker, secrets.Hidden, 1); string(secrets.Redact(data)) != want {
		t.Errorf("shown: %s", secrets.Redact(data))
	}
}

// A value that is likely a secret is a guess, and is shown.
func TestIn_Likely(t *testing.T) {
	for fields, path := range map[string]string{
		`"Env": {"DB_PASSWORD": "m4rk3r-7f3a"}`:                                            "instance.task.web.env.DB_PASSWORD",
		`"Env": {"apiKey": "m4rk3r-7f3a"}`:                                                 "instance.task.web.env.apiKey",
		`"Env": {"DATABASE_URL": "postgres://u:m4rk3r-7f3a@db/x"}`:                         "instance.task.web.env.DATABASE_URL",
		`"Env": {"X": "ghp_0123456789abcdef0123456789abcdef0123"}`:                         "instance.task.web.env.X",
		`"Config": {"args": ["serve", "--db-password=m4rk3r-7f3a"]}`:                       "instance.task.web.config.args",
		`"Config": {"args": ["--api-token", "m4rk3r-7f3a"]}`:                               "instance.task.web.config.args",
		`"Config": {"logging": [{"config": [{"splunk-token": "m4rk3r-7f3a"}]}]}`:           "instance.task.web.config.logging.config.splunk-token",
		`"Templates": [{"EmbeddedTmpl": "A=1\nDB_PASSWORD=m4rk3r-7f3a\n"}]`:                "instance.task.web.template[0].data",
		`"Artifacts": [{"GetterSource": "https://x/y?token=m4rk3r-7f3a"}]`:                 "instance.task.web.artifact.source",
		`"Secrets": [{"Name": "x", "Env": {"VAULT_TOKEN": "m4rk3r-7f3a"}}]`:                "instance.task.web.secret.env.VAULT_TOKEN",
		`"Services": [{"Checks": [{"Header": {"Authorization": ["Basic m4rk3r-7f3a"]}}]}]`: "instance.task.web.service.check.header.Authorization",
		`"Meta": {"deploy_token": "m4rk3r-7f3a"}`:                                          "instance.task.web.meta.deploy_token",
	} {
		got := secrets.In(group(fields), "instance")
		if len(got) != 1 || got[0].Certain || got[0].Path != path || strings.Contains(got[0].Message, "m4rk3r") {
			t.Errorf("%s: found %+v, want %s", fields, got, path)
		}
		if shown := secrets.Redact(group(fields)); string(shown) != string(group(fields)) {
			t.Errorf("%s: shown as %s", fields, shown)
		}
	}
}

func TestIn_Nothing(t *testing.T) {
	for _, fields := range []string{
		`"Config": {"auth": [{"username": "u", "password": "${REGISTRY_PASSWORD}", "server_address": "r"}], "auth_soft_fail": true}`,
		`"Config": {"auth": [{"username": "u", "password": ""}]}`, `"Config": {"auth": [{"password": null}], "image": "r.example:5000/a@sha256:abc"}`,
		`"Config": {"auth": [{"username": "${secret.registry.user}", "password": "${secret.registry.password}"}]}`,
		`"Config": {"auth": [{"password": "${A}"}]}, "Templates": [{"Envvars": true, "EmbeddedTmpl": "A={{ with nomadVar \"x\" }}{{ .password }}{{ end }}"}]`,
		`"Env": {"DB_PASSWORD": "${secret.db.password}", "DB_PASSWORD_FILE": "x", "TLS_KEY": "/secrets/key.pem", "PARTITION_KEY": "user", "MAX_TOKEN": "512", "PWD": "x", "USE_TOKEN": "true"}`,
		`"Env": {"DB_URL": "postgres://orders:$(DB_PASSWORD)@db/orders", "URL": "https://example.com/a?b=c", "GIT": "ssh://git@example.com/x"}`,
		`"Artifacts": [{"GetterSource": "git::https://u:${secret.git.token}@example.com/x", "GetterOptions": {"sshkey": "${secret.a.b}"}, "GetterHeaders": {"Authorization": "Bearer ${secret.a.b}"}}]`,
		`"Templates": [{"EmbeddedTmpl": "{{ with secret \"pki\" }}-----BEGIN PRIVATE KEY-----{{ .Data.key }}{{ end }}\nDB_PASSWORD={{ key \"x\" }}"}]`,
		`"Templates": [{"LeftDelim": "[[", "EmbeddedTmpl": "-----BEGIN PRIVATE KEY-----\n[[ with nomadVar \"secret/data/production/payments/service/certificates\" ]][[ .key ]][[ end ]]\n-----END PRIVATE KEY-----"}]`,
		`"Templates": [{"LeftDelim": "[[", "EmbeddedTmpl": "{\"auths\": {\"r\": {\"auth\": \"[[ with nomadVar \"nomad/jobs\" ]][[ .auth ]][[ end ]]\"}}}"}]`,
	} {
		if got := secrets.In(group(fields), "instance"); len(got) > 0 {
			t.Errorf("%s: found %+v", fields, got)
		}
	}
}

// In Wadi's own tasks of a job the operator's likely secrets are hidden too.
func TestRedact_OwnTasks(t *testing.T) {
	job := `{"ID": "a", "TaskGroups": [{"Tasks": [{"Name": "web", "Env": {"API_KEY": "shown"}},` +
		`{"Name": "queue-proxy", "Env": {"API_KEY": "gone", "WADI_QUIET": "shown"}, "Config": {"auth": [{"password": "gone"}]}}],` +
		`"Services": [{"Connect": {"SidecarTask": {"Env": {"API_KEY": "gone"}, "Config": {"auth": [{"password": "gone"}]}}}}]}]}`
	if got, want := string(secrets.Redact(json.RawMessage(job))), strings.ReplaceAll(job, `"gone"`, `"(hidden-by-wadi)"`); got != want {
		t.Errorf("shown: %s", got)
	}
}

func TestSpec(t *testing.T) {
	instance := group(`"Config": {"auth": [{"password": "p\"4ss"}]}, "Artifacts": [{"GetterSource": "https://u:t0ps3cret@x/y"}]`)
	spec := func(source string, variables map[string]string) wadi.Spec {
		return wadi.Spec{Service: wadi.Service{Name: "a", Instance: instance}, Source: source, Variables: variables}
	}
	for name, tt := range map[string]struct{ got, want wadi.Spec }{
		"in both": {
			spec(`password = "p\"4ss" # t0ps3cret`, map[string]string{"pw": `p"4ss`, "x": "y"}),
			spec(`password = "(hidden-by-wadi)" # (hidden-by-wadi)`, map[string]string{"pw": secrets.Hidden, "x": "y"}),
		},
		"made by an expression": {
			spec(`password = "p${local.q}4ss"; t0ps3cret`, map[string]string{"x": "y"}),
			spec("# This source is not shown: it has a password, from before Wadi refused that.\n", map[string]string{"x": secrets.Hidden}),
		},
	} {
		tt.want.Service.Instance = secrets.Redact(instance)
		given := cmp.Diff(tt.got.Variables, nil)
		if d := cmp.Diff(tt.want, secrets.Spec(tt.got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if cmp.Diff(tt.got.Variables, nil) != given {
			t.Errorf("%s: the variables were changed in place", name)
		}
	}
	plain := wadi.Spec{Service: wadi.Service{Instance: group(`"Env": {"A": "b"}`)}, Source: "x", Variables: map[string]string{"DB_PASSWORD": "x"}}
	if d := cmp.Diff(plain, secrets.Spec(plain)); d != "" {
		t.Errorf("without a secret:\n%s", d)
	}
}

// What is beside the instance is hidden as it is there, in the source too.
func TestService_Settings(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("aB3/", 16) + "\n-----END PRIVATE KEY-----"
	s := wadi.Service{Name: "a", Priority: 50, Meta: map[string]string{"tls": key, "DB_PASSWORD": "guess", "team": "x"}, Instance: group(`"Env": {"A_TOKEN": "guess"}`)}
	spec := wadi.Spec{Service: s, Source: "tls = <<EOF\n" + key + "\nEOF\n"}
	for name, tt := range map[string]struct {
		shown any
		gone  []string
	}{
		"service": {secrets.Service(s), []string{"aB3/"}},
		"planned": {secrets.Planned(s), []string{"aB3/", "guess"}},
		"spec":    {secrets.Spec(spec), []string{"aB3/"}},
	} {
		text, err := json.Marshal(tt.shown)
		if err != nil {
			t.Fatal(err)
		}
		for _, gone := range tt.gone {
			if strings.Contains(string(text), gone) {
				t.Errorf("%s shows %q: %s", name, gone, text)
			}
		}
		if !strings.Contains(string(text), `"team":"x"`) || !strings.Contains(string(text), `"priority":50`) {
			t.Errorf("%s lost a setting: %s", name, text)
		}
	}
	if s.Meta["tls"] != key {
		t.Error("it was changed in place")
	}
}

func TestChange(t *testing.T) {
	field := func(name, old, now string) wadi.Change {
		return wadi.Change{Kind: wadi.ChangeEdited, Name: name, Old: old, New: now}
	}
	in := wadi.Change{Name: `Task: "web"`, Changes: []wadi.Change{
		field("auth[0][password]", "gone", "${A}"), field("auth[0][username]", "u", "v"), field("Env[DB_PASSWORD]", "gone", "gone"), field("Env[PORT]", "1", "2"),
		field("GetterSource", "https://u:gone@x", "https://x"), field("GetterHeaders[Authorization]", "", "gone"), field("GetterOptions[sshkey]", "gone", ""),
		field("EmbeddedTmpl", "A=1\nAPI_KEY=gone\n", ""), field("MountFlags", "password=gone", ""),
		field("args[1]", "--api-token=gone", "--api-token=gone"), field("args[3]", "spoken", "x-spoken-x"),
	}}
	text, err := json.Marshal(secrets.Change(in, group(`"Config": {"args": ["--token", "spoken"]}`)))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "gone") || strings.Contains(string(text), "spoken") || !strings.Contains(string(text), `"old":"1","new":"2"`) || !strings.Contains(string(text), `"new":"${A}"`) {
		t.Errorf("shown: %s", text)
	}
	// Secrets that are parts of the placeholder do not make it grow.
	var parts []string
	for from := range secrets.Hidden {
		for to := from + 4; to <= len(secrets.Hidden); to++ {
			parts = append(parts, `"P`+strings.Repeat("x", from)+"y"+strings.Repeat("z", to)+`_TOKEN": "`+secrets.Hidden[from:to]+`"`)
		}
	}
	grown := secrets.Change(wadi.Change{Name: "x", Old: "a hidden-by-wadi b"}, group(`"Env": {`+strings.Join(parts, ",")+`}`))
	if len(grown.Old) > 100 {
		t.Errorf("%d characters", len(grown.Old))
	}
	if in.Changes[0].Old != "gone" {
		t.Error("it was changed in place")
	}
}

// Many secrets are found like few, and a difference of a large job takes no more than its size:
// one secret after the other would take minutes.
func TestChange_Many(t *testing.T) {
	var env []string
	in := wadi.Change{Name: "x"}
	for i := range 20_000 {
		env = append(env, fmt.Sprintf(`"E%d_TOKEN": "gone%07d"`, i, i))
		in.Changes = append(in.Changes, wadi.Change{Name: fmt.Sprintf("args[%d]", i), Old: fmt.Sprintf("<gone%07d>gone", i), New: strings.Repeat("gone000", 20)})
	}
	env = append(env, `"LONG_TOKEN": "gone0000001gone0000002"`)
	in.Changes[0].New = "gone0000001gone0000002 gone0000001gone0000003 gone0000001gone0"
	got := secrets.Change(in, group(`"Env": {`+strings.Join(env, ",")+`}`))
	for i, c := range got.Changes {
		if c.Old != "<"+secrets.Hidden+">gone" {
			t.Fatalf("%d is shown as %q", i, c.Old)
		}
	}
	if want := "H HH Hgone0"; strings.ReplaceAll(got.Changes[0].New, secrets.Hidden, "H") != want {
		t.Errorf("got %q, want %s", got.Changes[0].New, want)
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		`failed to download artifact "https://u:gone@x/y": bad`: `failed to download artifact "https://u:(hidden-by-wadi)@x/y": bad`,
		"a https://ghp_0123456789abcdef0123@x b":                "a https://(hidden-by-wadi)@x b",
		"https://ghp_0123456789abcdef0123:x-oauth-basic@x":      "https://(hidden-by-wadi):x-oauth-basic@x",
		"http://h:80/a@b and ssh://git@x":                       "http://h:80/a@b and ssh://git@x",
		`parse "https://u:a#gone@x/y": invalid port`:            `parse "https://u:(hidden-by-wadi)@x/y": invalid port`,
		"http://h:80/#a:b@c and http://h#a:b@c":                 "http://h:80/#a:b@c and http://h#a:b@c",
		"x?a=1&sshkey=gone&b=2":                                 "x?a=1&sshkey=(hidden-by-wadi)&b=2",
	} {
		if got := secrets.Text(in); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestVariables(t *testing.T) {
	got := secrets.Variables(map[string]string{"db_password": "x", "port": "1", "token": ""})
	if d := cmp.Diff([]string{"db_password"}, got); d != "" {
		t.Error(d)
	}
}

// Deep and long JSON takes no more than linear work: with paths of any length this would take
// minutes.
func TestRedact_Deep(t *testing.T) {
	deep := strings.Repeat(`{"`+strings.Repeat("k", 90)+`":[`, 4900)
	data := json.RawMessage(`{"Tasks": [{"Config": ` + deep + `1` + strings.Repeat("]}", 4900) + `}]}`)
	if got := secrets.Redact(data); string(got) != string(data) {
		t.Error("it was changed")
	}
	if got := secrets.Redact(json.RawMessage(strings.Repeat("[", 20_000))); string(got) != `"`+secrets.Hidden+`"` {
		t.Errorf("shown: %.100s", got)
	}
}
