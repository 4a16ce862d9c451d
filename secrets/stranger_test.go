package secrets_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/wadi-run/wadi/secrets"
)

// Tasks as people have them are accepted, and are warned of only where a secret stands.
func TestIn_Strangers(t *testing.T) {
	for name, tt := range map[string]struct {
		fields string
		warned []string
	}{
		"redis":              {`"Config": {"image": "redis:7", "ports": ["db"], "auth_soft_fail": true, "command": "redis-server", "args": ["--save", "60", "1", "--loglevel", "warning"]}`, nil},
		"postgres":           {`"Config": {"image": "postgres:16"}, "Env": {"POSTGRES_USER": "app", "POSTGRES_PASSWORD": "dev", "PGDATA": "/alloc/data/pg"}`, []string{"instance.task.web.env.POSTGRES_PASSWORD"}},
		"mysql of a file":    {`"Config": {"image": "mysql:8"}, "Env": {"MYSQL_ROOT_PASSWORD_FILE": "/secrets/root", "MYSQL_ALLOW_EMPTY_PASSWORD": "yes", "MYSQL_RANDOM_ROOT_PASSWORD": "true"}`, nil},
		"traefik":            {`"Config": {"image": "traefik:v3", "args": ["--api.dashboard=true", "--entrypoints.web.address=:${NOMAD_PORT_http}", "--providers.nomad.endpoint.token=${NOMAD_TOKEN}", "--certificatesresolvers.le.acme.email=me@example.com"]}`, nil},
		"traefik's labels":   {`"Config": {"labels": [{"traefik.http.middlewares.a.basicauth.usersfile": "/local/users", "traefik.http.routers.a.rule": "Host(` + "`a.example`" + `) && PathPrefix(` + "`/x@y`" + `)"}]}`, nil},
		"nginx":              {`"Templates": [{"EmbeddedTmpl": "upstream a {\n{{ range service \"a\" }}  server {{ .Address }}:{{ .Port }};\n{{ end }}}\nssl_certificate_key /secrets/tls.key;\nproxy_set_header Authorization $http_authorization;\n"}]`, nil},
		"vault's template":   {`"Templates": [{"Envvars": true, "EmbeddedTmpl": "DB_PASSWORD=\"{{with secret \"database/creds/app\"}}{{.Data.password}}{{end}}\"\nAWS_SECRET_ACCESS_KEY={{ with nomadVar \"nomad/jobs\" }}{{ .aws }}{{ end }}\n"}]`, nil},
		"a key of vault":     {`"Templates": [{"EmbeddedTmpl": "{{ with pkiCert \"pki/issue/x\" \"common_name=a\" }}\n-----BEGIN CERTIFICATE-----\n{{ .Cert }}\n-----BEGIN RSA PRIVATE KEY-----\n{{ .Key }}\n-----END RSA PRIVATE KEY-----\n{{ end }}"}]`, nil},
		"a certificate":      {`"Templates": [{"EmbeddedTmpl": "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END PUBLIC KEY-----"}]`, nil},
		"java":               {`"Config": {"jar_path": "local/app.jar", "jvm_options": ["-Xmx512m", "-Djavax.net.ssl.trustStorePassword=changeit"]}`, nil},
		"an exec of a shell": {`"Config": {"command": "/bin/sh", "args": ["-c", "export TOKEN=$(cat ${NOMAD_SECRETS_DIR}/t); exec curl -H \"Authorization: Bearer $TOKEN\" http://x"]}`, nil},
		"git":                {`"Artifacts": [{"GetterSource": "git::git@github.com:hashicorp/nomad.git", "GetterOptions": {"sshkey": "${secret.git.key}", "depth": "1", "ref": "v1"}}]`, nil},
		"a public release":   {`"Artifacts": [{"GetterSource": "https://github.com/a/b/releases/download/v1.0/b@1.0_linux_${attr.cpu.arch}.zip", "GetterOptions": {"checksum": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "archive": "zip"}}]`, nil},
		"s3":                 {`"Artifacts": [{"GetterSource": "s3::https://s3.eu-west-1.amazonaws.com/bucket/x.tgz", "GetterOptions": {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "region": "eu"}}]`, nil},
		"ecr and a digest":   {`"Config": {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/web:1@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}`, nil},
		"podman":             {`"Config": {"image": "docker://docker.io/library/nginx:1", "auth": [{"username": "u", "password": "${PASSWORD}", "tls_verify": true}]}, "Templates": [{"Envvars": true, "EmbeddedTmpl": "PASSWORD={{ key \"x\" }}"}]`, nil},
		"mounts":             {`"Config": {"mount": [{"type": "volume", "source": "cache", "volume_options": [{"driver_config": [{"name": "local", "options": [{"type": "nfs", "o": "addr=10.0.0.1,rw,nfsvers=4.1", "device": ":/x"}]}]}]}, {"type": "tmpfs", "tmpfs_options": [{"size": 1000}]}]}`, nil},
		"a file of mounts":   {`"Config": {"mount": [{"volume_options": [{"driver_config": [{"options": [{"type": "cifs", "o": "credentials=/etc/smb,uid=1"}]}]}]}]}`, nil},
		"kafka":              {`"Env": {"KAFKA_CFG_PARTITION_KEY": "id", "KAFKA_BROKERS": "a:9092,b:9092", "OPENAI_MAX_TOKENS": "4096", "TOKENIZER": "bpe", "KEYCLOAK_URL": "https://id.example/realms/x"}`, nil},
		"django":             {`"Env": {"DJANGO_SECRET_KEY": "django-insecure-abc", "DATABASE_URL": "postgres://app:pw@db/app", "SENTRY_DSN": "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2"}`, []string{"instance.task.web.env.DJANGO_SECRET_KEY", "instance.task.web.env.DATABASE_URL"}},
		"prometheus":         {`"Templates": [{"LeftDelim": "[[", "EmbeddedTmpl": "- alert: x\n  annotations:\n    summary: \"{{ $labels.job }} [[ key \"a\" ]]\"\nbasic_auth:\n  password_file: /secrets/p\n"}]`, nil},
		"fluentd's logging":  {`"Config": {"logging": [{"type": "fluentd", "config": [{"fluentd-address": "127.0.0.1:24224", "tag": "{{.Name}}"}]}]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			data := group(tt.fields)
			if !json.Valid(data) {
				t.Fatal("the test's JSON is none")
			}
			var warned []string
			for _, f := range secrets.In(data, "instance") {
				if f.Certain {
					t.Errorf("%s is refused: %s", f.Path, f.Message)
				}
				warned = append(warned, f.Path)
			}
			slices.Sort(warned)
			slices.Sort(tt.warned)
			if !slices.Equal(warned, tt.warned) {
				t.Errorf("warned of %q, want %q", warned, tt.warned)
			}
		})
	}
}
