package registry_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/registry"
)

// guarded is a registry with a user and a password.
func guarded(t *testing.T) *fake {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "wadi" || p != secret {
			w.Header().Set("WWW-Authenticate", `Basic realm="reg"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		manifest(w, r)
	})
}

func basic(password string) string {
	return base64.StdEncoding.EncodeToString([]byte("wadi:" + password))
}

func TestCredentials(t *testing.T) {
	f := guarded(t)
	_, port, _ := strings.Cut(f.host, ":")
	good, bad := basic(secret), basic("wrong")
	entry := func(key, auth string) string { return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, key, auth) }
	for name, tt := range map[string]struct {
		own    registry.Credentials
		config string // Empty: none.
		ok     bool
		words  []string
	}{
		"none":                          {words: []string{"nobody", "images.docker_config", "docker plugin's auth"}},
		"own":                           {own: own, ok: true},
		"own before the file's":         {own: own, config: entry(f.host, bad), ok: true},
		"own for this registry":         {own: registry.Credentials{Username: "wadi", Password: secret, Server: "https://" + strings.ToUpper(f.host) + "/v2/"}, ok: true},
		"own for another registry":      {own: registry.Credentials{Username: "wadi", Password: secret, Server: "ghcr.io"}, words: []string{"nobody"}},
		"own by a variable":             {own: registry.Credentials{Username: "wadi", Password: "${REGISTRY_PASSWORD}"}, config: entry(f.host, good), ok: true},
		"own that is wrong":             {own: registry.Credentials{Username: "wadi", Password: "wrong"}, words: []string{"refuses the credentials", "images.docker_config"}},
		"host":                          {config: entry(f.host, good), ok: true},
		"unpadded":                      {config: entry(f.host, strings.TrimRight(good, "=")), ok: true},
		"url":                           {config: entry("https://"+f.host+"/v1/", good), ok: true},
		"http url":                      {config: entry("http://"+f.host, good), ok: true},
		"podman's path":                 {config: entry(f.host+"/team", good), ok: true},
		"podman's whole path":           {config: `{"auths": {"` + f.host + `/team/web": {"auth": "` + good + `"}, "` + f.host + `": {"auth": "` + bad + `"}}}`, ok: true},
		"another path":                  {config: entry(f.host+"/other", good)},
		"another host":                  {config: entry("r.example.com", good)},
		"another port":                  {config: entry("127.0.0.1:1"+port, good)},
		"no port":                       {config: entry("127.0.0.1", good)},
		"user and password":             {config: `{"auths": {"` + f.host + `": {"username": "wadi", "password": "` + secret + `"}}}`, ok: true},
		"of a helper that was there":    {config: `{"auths": {"` + f.host + `": {}}}`},
		"other keys of Docker's config": {config: `{"HttpHeaders": {"a": "b"}, "psFormat": "x", "auths": {"` + f.host + `": {"auth": "` + good + `", "email": "e"}}}`, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := registry.Settings{}
			if tt.config != "" {
				s.DockerConfig = dockerFile(t, tt.config)
			}
			got, err := resolve(t, resolver(t, s), f.image(), tt.own)
			if tt.ok && (got != digest || err != nil) {
				t.Errorf("got %q, %v", got, err)
			}
			if !tt.ok {
				wantKind(t, err, registry.ErrUnauthorized, append(tt.words, f.host)...)
			}
		})
	}
}

// Docker Hub has several names, and so have the keys of old files.
func TestCredentials_Keys(t *testing.T) {
	as := func(user string) string {
		return `{"auth": "` + base64.StdEncoding.EncodeToString([]byte(user+":x")) + `"}`
	}
	s := registry.Settings{DockerConfig: dockerFile(t, `{"auths": {
		"https://index.docker.io/v1/": `+as("hub")+`, "docker.io/acme": `+as("acme")+`, "https://old.example.com/v2/": `+as("old")+`,
		"http://plain.example.com": `+as("plain")+`, "https://path.example.com/some/path": `+as("path")+`, "ghcr.io": `+as("ghcr")+`,
		"r.example.com:5000": `+as("port")+`, "token.example.com": {"identitytoken": "tok"}}}`)}
	for image, want := range map[string]string{
		"nginx": "hub", "docker.io/other/web": "hub", "index.docker.io/other/web": "hub", "acme/web:1": "acme", "acmeother/web": "hub",
		"old.example.com/a/b": "old", "plain.example.com/a": "plain", "path.example.com/some/path": "", "ghcr.io/a/b": "ghcr", "evil-ghcr.io/a": "",
		"ghcr.io.example.com/a": "", "r.example.com:5000/a": "port", "r.example.com/a": "", "r.example.com:500/a": "", "token.example.com/a": "tok",
	} {
		if got, err := registry.UserFor(t.Context(), s, image); got != want || err != nil {
			t.Errorf("%s is asked as %q, %v, want %q", image, got, err, want)
		}
	}
	for _, file := range []string{`"docker.io": `, `"index.docker.io": `, `"registry-1.docker.io": `, `"https://registry-1.docker.io": `, `"https://docker.io/v1/": `} {
		s := registry.Settings{DockerConfig: dockerFile(t, `{"auths": {`+file+as("hub")+`}}`)}
		if got, err := registry.UserFor(t.Context(), s, "nginx"); got != "hub" || err != nil {
			t.Errorf("%s: asked as %q, %v", file, got, err)
		}
	}
}

// The file is read for each question: a renewed password needs no reload.
func TestCredentials_Renewed(t *testing.T) {
	f := guarded(t)
	file := dockerFile(t, `{"auths": {"`+f.host+`": {"auth": "`+basic("old")+`"}}}`)
	r := resolver(t, registry.Settings{DockerConfig: file})
	if _, err := resolve(t, r, f.image(), registry.Credentials{}); err == nil {
		t.Fatal("an old password is good")
	}
	if err := os.WriteFile(file, []byte(`{"auths": {"`+f.host+`": {"auth": "`+basic(secret)+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := resolve(t, r, f.image(), registry.Credentials{}); got != digest {
		t.Errorf("got %q, %v", got, err)
	}
	if err := os.WriteFile(file, []byte(`{"auths": "`+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := resolve(t, r, f.image(), registry.Credentials{})
	wantKind(t, err, registry.ErrCredentials, "Docker configuration", "images.docker_config")
	if strings.Contains(err.Error(), filepath.Dir(file)) {
		t.Errorf("the error names the agent's file: %v", err)
	}
}

func TestNew_BadFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat(" ", 2<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		s     registry.Settings
		words string
	}{
		{registry.Settings{DockerConfig: filepath.Join(dir, "none")}, "no such file"},
		{registry.Settings{DockerConfig: dir}, "not a regular file"},
		{registry.Settings{DockerConfig: fifo}, "not a regular file"},
		{registry.Settings{DockerConfig: large}, "larger than 1 MiB"},
		{registry.Settings{DockerConfig: dockerFile(t, `{"auths": {"r": {"auth": "`+secret+`"}}}`)}, `"r": its auth is not the base64`},
		{registry.Settings{DockerConfig: dockerFile(t, `{"auths": ["`+secret+`"]}`)}, "not the JSON that `docker login` writes (auths)"},
		{registry.Settings{DockerConfig: dockerFile(t, `{"credsStore": "../../bin/sh"}`)}, "no name of a credential helper"},
		{registry.Settings{DockerConfig: dockerFile(t, `{"credHelpers": {"r": "-x"}}`)}, "no name of a credential helper"},
		{registry.Settings{CAFile: filepath.Join(dir, "none")}, "images.ca_file"},
		{registry.Settings{CAFile: dockerFile(t, "x")}, "no certificate"},
	} {
		_, err := registry.New(registry.Options{Settings: tt.s})
		if err == nil || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), secret) {
			t.Errorf("%+v: %v, want %q", tt.s, err, tt.words)
		}
	}
}

// helper puts a credential helper on PATH.
func helper(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func answer(user, password string) string {
	b, _ := json.Marshal(map[string]string{"ServerURL": "x", "Username": user, "Secret": password})
	return "cat <<'END'\n" + string(b) + "\nEND\n"
}

func TestHelper(t *testing.T) {
	f := guarded(t)
	noMore := "exit 1\n"
	for name, tt := range map[string]struct {
		script string
		config string
		kind   error // Nil: it works.
		words  string
	}{
		"for the registry": {script: answer("wadi", secret), config: `{"credHelpers": {"HOST": "test"}}`},
		"for all":          {script: answer("wadi", secret), config: `{"credsStore": "test", "auths": {"HOST": {}}}`},
		"asked rightly":    {script: `read s; [ "$1 $s" = "get HOST" ] || exit 9` + "\n" + answer("wadi", secret), config: `{"credsStore": "test"}`},
		"none, but in the file": {script: "echo credentials not found in native keychain\n" + noMore,
			config: `{"credsStore": "test", "auths": {"HOST": {"auth": "` + basic(secret) + `"}}}`},
		"none": {script: "echo credentials not found in native keychain\n" + noMore, config: `{"credsStore": "test"}`,
			kind: registry.ErrUnauthorized, words: "nobody"},
		"for another registry": {script: "echo " + secret + "\n" + noMore, config: `{"credHelpers": {"other": "test"}}`,
			kind: registry.ErrUnauthorized, words: "nobody"},
		"fails with a secret in its words": {script: "echo " + secret + "; echo " + secret + " >&2\nexit 3\n", config: `{"credsStore": "test"}`,
			kind: registry.ErrCredentials, words: "docker-credential-test failed with code 3"},
		"says nonsense": {script: "echo '" + secret + "'", config: `{"credsStore": "test"}`, kind: registry.ErrCredentials, words: "no credentials"},
		"is not there":  {script: noMore, config: `{"credsStore": "absent"}`, kind: registry.ErrCredentials, words: "no program docker-credential-absent"},
		"writes without end": {script: "yes " + secret + " | head -c 30000000", config: `{"credsStore": "test"}`,
			kind: registry.ErrCredentials, words: "no credentials"},
		"gets no token of the agent's": {script: `[ -z "$NOMAD_TOKEN$CONSUL_HTTP_TOKEN" ] || exit 9` + "\n" + answer("wadi", secret), config: `{"credsStore": "test"}`},
		"gets its own environment":     {script: `[ "$HELPER_REGION" = x ] || exit 9` + "\n" + answer("wadi", secret), config: `{"credsStore": "test"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NOMAD_TOKEN", "t")
			t.Setenv("CONSUL_HTTP_TOKEN", "t")
			t.Setenv("HELPER_REGION", "x")
			helper(t, strings.ReplaceAll(tt.script, "HOST", f.host))
			r := resolver(t, registry.Settings{DockerConfig: dockerFile(t, strings.ReplaceAll(tt.config, "HOST", f.host)), Timeout: 30 * time.Second})
			got, err := resolve(t, r, f.image(), registry.Credentials{})
			if tt.kind == nil && (got != digest || err != nil) {
				t.Errorf("got %q, %v", got, err)
			}
			if tt.kind != nil {
				wantKind(t, err, tt.kind, tt.words)
			}
		})
	}
}

// A helper that hangs is an error in time.
func TestHelper_Hangs(t *testing.T) {
	f := guarded(t)
	helper(t, "sleep 1000\n")
	r := resolver(t, registry.Settings{DockerConfig: dockerFile(t, `{"credsStore": "test"}`), Timeout: 300 * time.Millisecond})
	_, err := resolve(t, r, f.image(), registry.Credentials{})
	wantKind(t, err, registry.ErrCredentials, "did not answer")
}

// A helper ends with its caller, and so does what it has started.
func TestHelper_Ended(t *testing.T) {
	f := guarded(t)
	dir := helper(t, "sleep 1000 & echo $! > \"$(dirname \"$0\")/new\"\nmv \"$(dirname \"$0\")/new\" \"$(dirname \"$0\")/child\"\nwait\n")
	r := resolver(t, registry.Settings{DockerConfig: dockerFile(t, `{"credsStore": "test"}`), Timeout: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := r.Resolve(ctx, f.image(), registry.Credentials{})
		ended <- err
	}()
	var child string
	poll(t, "the helper begins", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "child"))
		child = strings.TrimSpace(string(text))
		return err == nil
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	poll(t, "its child ends", func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", child, "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// poll waits for what happens soon.
func poll(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for began := time.Now(); !happened(); time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("waited in vain: ", what)
		}
	}
}

// An identity token of a helper is used as one.
func TestHelper_IdentityToken(t *testing.T) {
	var f *fake
	h := bearer(func() string { return f.URL + "/token" })
	f = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if r.FormValue("refresh_token") != secret {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = w.Write([]byte(`{"token": "good"}`))
			return
		}
		h(w, r)
	})
	helper(t, answer("<token>", secret))
	r := resolver(t, registry.Settings{DockerConfig: dockerFile(t, `{"credsStore": "test"}`)})
	if got, err := resolve(t, r, f.image(), registry.Credentials{}); got != digest {
		t.Errorf("got %q, %v", got, err)
	}
}

// Credentials are not printed by accident.
func TestCredentials_NotPrinted(t *testing.T) {
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, own); strings.Contains(text, secret) || strings.Contains(text, "wadi") {
			t.Errorf("%s prints %s", format, text)
		}
	}
}
