package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"github.com/wadi-run/wadi/internal/certfile"
	"github.com/wadi-run/wadi/internal/imageref"
)

// dockerConfig is the part of Docker's config.json, or podman's auth.json, that is about
// credentials.
type dockerConfig struct {
	Auths       map[string]dockerAuth `json:"auths"`
	CredsStore  string                `json:"credsStore"`  // Helper for all registries.
	CredHelpers map[string]string     `json:"credHelpers"` // Helper by registry.
}

type dockerAuth struct {
	Auth          string `json:"auth"` // Base64 of username:password.
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// dockerHub is Docker Hub's name in Docker's configuration.
const dockerHub = "https://index.docker.io/v1/"

// readDockerConfig reads the file. Errors quote nothing of it.
func readDockerConfig(path string) (dockerConfig, error) {
	var c dockerConfig
	text, err := certfile.Read(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		at := ""
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			at = fmt.Sprintf(" (byte %d)", syntax.Offset)
		}
		if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
			at = fmt.Sprintf(" (%.50s)", kind.Field)
		}
		return c, fmt.Errorf("%s: it is not the JSON that `docker login` writes%s", path, at)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Auths)) {
		if _, err := c.Auths[key].login(); err != nil {
			return c, fmt.Errorf("%s: auths, %.100q: %w", path, key, err)
		}
	}
	for _, h := range c.helpers() {
		if !helperRule.MatchString(h) {
			return c, fmt.Errorf("%s: %.50q is no name of a credential helper", path, h)
		}
	}
	return c, nil
}

// Examined is what was found about a Docker configuration that can be read.
type Examined struct {
	Missing []string // Programs of credential helpers that it names and that are not on PATH.
	Exposed bool     // Every user of the machine may read it.
}

// Examine reads a Docker configuration. The error begins with its path, and quotes nothing of it.
func Examine(path string) (Examined, error) {
	c, err := readDockerConfig(path)
	if err != nil {
		return Examined{}, err
	}
	out := Examined{Exposed: certfile.IsExposed(path)}
	for _, h := range c.helpers() {
		if _, err := exec.LookPath(helperPrefix + h); err != nil {
			out.Missing = append(out.Missing, helperPrefix+h)
		}
	}
	return out, nil
}

// helpers are the names of all helpers.
func (c dockerConfig) helpers() []string {
	out := slices.Collect(maps.Values(c.CredHelpers))
	if c.CredsStore != "" {
		out = append(out, c.CredsStore)
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(s string) bool { return s == "" })
}

func (a dockerAuth) login() (login, error) {
	l := login{username: a.Username, password: a.Password, identityToken: a.IdentityToken, registryToken: a.RegistryToken}
	if a.Auth == "" {
		return l, nil
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(a.Auth))
	if err != nil {
		plain, err = base64.RawStdEncoding.DecodeString(strings.TrimSpace(a.Auth))
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok || user == "" {
		return login{}, errors.New("its auth is not the base64 of username:password")
	}
	l.username, l.password = user, strings.Trim(password, "\x00")
	return l, nil
}

// login finds the credentials for an image: the task's own, or those of the Docker
// configuration, or none.
func (l *loaded) login(ctx context.Context, ref imageref.Image, own Credentials) (login, error) {
	if own.isFor(ref.Registry()) {
		return login{username: own.Username, password: own.Password}, nil
	}
	if l.DockerConfig == "" {
		return login{}, nil
	}
	c, err := readDockerConfig(l.DockerConfig)
	if err != nil {
		return login{}, credentialsProblem("the agent's Docker configuration can't be used: " + withoutPath(err, l.DockerConfig))
	}
	keys := keysOf(ref)
	for _, key := range keys {
		if h := c.CredHelpers[key]; h != "" {
			return askHelper(ctx, h, key)
		}
	}
	if c.CredsStore != "" {
		found, err := askHelper(ctx, c.CredsStore, keys[len(keys)-1])
		if err != nil || found != (login{}) {
			return found, err
		}
	}
	return c.auth(keys), nil
}

// withoutPath is the reason of an error: callers of the API need not know the agent's files.
func withoutPath(err error, path string) string {
	if errors.Is(err, fs.ErrPermission) {
		return "the agent may not read it"
	}
	return strings.TrimPrefix(err.Error(), path+": ")
}

func credentialsProblem(what string) error {
	return problem(ErrCredentials, what, "the operator mends what images.docker_config names; wadi doctor says more")
}

// isFor reports whether a task's own credentials are for a registry. Nomad's variables in
// them are not known here.
func (c Credentials) isFor(registry string) bool {
	if c.Username == "" || c.Password == "" || strings.Contains(c.Username+c.Password, "${") {
		return false
	}
	return c.Server == "" || hostOfKey(c.Server) == hostOfKey(registry)
}

// keysOf are the keys under which an image's credentials may be, the most exact one first:
// podman has paths too. The last is Docker's own.
func keysOf(ref imageref.Image) (keys []string) {
	for name := ref.Name; strings.Contains(name, "/"); name = name[:strings.LastIndexByte(name, '/')] {
		keys = append(keys, name)
	}
	if ref.Registry() == "docker.io" {
		return append(keys, "docker.io", "index.docker.io", "registry-1.docker.io", dockerHub)
	}
	return append(keys, ref.Registry())
}

// auth returns the credentials of the first key that has some. Old keys are URLs.
func (c dockerConfig) auth(keys []string) login {
	for _, key := range keys {
		if l, err := c.Auths[key].login(); err == nil && l != (login{}) {
			return l
		}
	}
	host := hostOfKey(keys[len(keys)-1])
	for _, key := range slices.Sorted(maps.Keys(c.Auths)) {
		scheme, rest, isURL := strings.Cut(key, "://")
		_, path, _ := strings.Cut(rest, "/")
		if !isURL || scheme != "https" && scheme != "http" || path != "" && path != "v1/" && path != "v2/" && path != "v1" && path != "v2" {
			continue
		}
		if l, err := c.Auths[key].login(); hostOfKey(key) == host && err == nil && l != (login{}) {
			return l
		}
	}
	return login{}
}

// hostOfKey is the registry of a key or of a server's address, in lower case. Docker Hub has
// several names.
func hostOfKey(key string) string {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	host, _, _ := strings.Cut(strings.ToLower(key), "/")
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}
