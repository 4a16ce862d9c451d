package registry_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/wadi-run/wadi/internal/registry"
)

// contents are a registry's, by digest.
type contents map[string]string

func (c contents) add(text string) string {
	d := sum(text)
	c[d] = text
	return d
}

func (c contents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, ok := c[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, text)
}

func sum(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// image adds an image with a config, and returns its digest.
func (c contents) image(config string) string {
	return c.add(fmt.Sprintf(`{"schemaVersion": 2, "config": {"digest": %q}}`, c.add(config)))
}

const checked = `{"config": {"Healthcheck": {"Test": ["CMD-SHELL", "curl -f http://localhost/"]}}}`

func wanted() registry.Config { return registry.Config{Healthcheck: true} }

func look(t *testing.T, r *registry.Resolver, image, digest string) (registry.Config, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return r.Config(ctx, image, digest)
}

func TestConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		want   registry.Config
	}{
		"shell":       {checked, wanted()},
		"exec":        {`{"config": {"Healthcheck": {"Test": ["CMD", "/app", "-check"], "Interval": 1000000000}}}`, wanted()},
		"none":        {`{"config": {"Healthcheck": {"Test": ["NONE"]}}}`, registry.Config{}},
		"only times":  {`{"config": {"Healthcheck": {"Interval": 1000000000}}}`, registry.Config{}},
		"null":        {`{"config": {"Healthcheck": null}}`, registry.Config{}},
		"no config":   {`{}`, registry.Config{}},
		"no command":  {`{"config": {"Healthcheck": {"Test": ["CMD"]}}}`, wanted()},
		"long":        {`{"config": {"Healthcheck": {"Test": ["CMD", "` + strings.Repeat("a", 1<<19) + `"]}}}`, wanted()},
		"unknown key": {`{"x": 1, "config": {"y": [], "Healthcheck": {"Test": ["CMD", "a"]}}}`, wanted()},
	} {
		c := contents{}
		digest := c.image(tt.config)
		f := serve(t, c.ServeHTTP)
		if got, err := look(t, resolver(t, registry.Settings{}), f.image(), digest); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
		}
	}
}

// A real registry's image, alone and in indexes.
func TestConfig_OfARealRegistry(t *testing.T) {
	srv := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	with := func(test ...string) v1.Image {
		image, err := mutate.Config(empty.Image, v1.Config{Healthcheck: &v1.HealthConfig{Test: test}})
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	on := func(image v1.Image, platform string) mutate.IndexAddendum {
		p, _ := v1.ParsePlatform(platform)
		return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: p}}
	}
	for tag, tt := range map[string]struct {
		index []mutate.IndexAddendum
		want  registry.Config
	}{
		"amd64":    {[]mutate.IndexAddendum{on(with("NONE"), "windows/amd64"), on(with("NONE"), "linux/arm64"), on(with("CMD", "a"), "linux/amd64")}, wanted()},
		"no-amd64": {[]mutate.IndexAddendum{on(with("NONE"), "windows/amd64"), on(with("CMD", "a"), "linux/arm64"), on(with("NONE"), "linux/s390x")}, wanted()},
		"none":     {[]mutate.IndexAddendum{on(with("CMD", "a"), "windows/amd64"), on(with("CMD", "a"), "linux/arm64"), on(with("NONE"), "linux/amd64")}, registry.Config{}},
	} {
		ref, err := name.ParseReference(host + "/team/web:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		index := mutate.AppendManifests(empty.Index, tt.index...)
		if err := remote.WriteIndex(ref, index); err != nil {
			t.Fatal(err)
		}
		digest, _ := index.Digest()
		if got, err := look(t, resolver(t, registry.Settings{}), ref.String(), digest.String()); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tag, got, err, tt.want)
		}
	}
}

// What was read is not asked for again, and the cache has a bound.
func TestConfig_IsKept(t *testing.T) {
	c := contents{}
	first := c.image(checked)
	f := serve(t, c.ServeHTTP)
	r := resolver(t, registry.Settings{})
	for range 3 {
		if got, err := look(t, r, f.image(), first); err != nil || got != wanted() {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if n := len(f.requests()); n != 2 {
		t.Errorf("asked %d times", n)
	}
	for i := range 300 {
		if i == 200 { // It is used again, so it stays.
			if _, err := look(t, r, f.image(), first); err != nil {
				t.Fatal(err)
			}
		}
		r.Keep(fmt.Sprintf("sha256:%064x", i), registry.Config{})
	}
	if n := r.Configs(); n != 256 {
		t.Errorf("%d are kept", n)
	}
	delete(c, first)
	if got, err := look(t, r, f.image(), first); err != nil || got != wanted() {
		t.Errorf("the one that was used last: %+v, %v", got, err)
	}
}

// Nothing that a registry says is taken for a config that it is not, and nothing of a failure is kept.
func TestConfig_Attacks(t *testing.T) {
	deep := strings.Repeat(`{"config":`, 50_000)
	for name, tt := range map[string]func(c contents) string{
		"another manifest": func(c contents) string {
			d := sum("{}")
			c[d] = c[c.image(checked)]
			return d
		},
		"another config": func(c contents) string {
			d := c.image(`{}`)
			c[sum(`{}`)] = checked
			return d
		},
		"another manifest of a platform": func(c contents) string {
			d := sum("mine")
			c[d] = c[c.image(checked)]
			return c.add(fmt.Sprintf(`{"manifests": [{"digest": %q, "platform": {"os": "linux"}}]}`, d))
		},
		"large config":   func(c contents) string { return c.image(checked + strings.Repeat(" ", 1<<20)) },
		"large manifest": func(c contents) string { return c.add(c[c.image(checked)] + strings.Repeat(" ", 1<<20)) },
		"schema 1": func(c contents) string {
			return c.add(`{"schemaVersion": 1, "name": "team/web", "fsLayers": [], "history": [{"v1Compatibility": "{}"}]}`)
		},
		"both":             func(c contents) string { m := c.image(checked); return c.add(both(c, m)) },
		"index of indexes": func(c contents) string { return c.index(c.index(c.image(checked), "linux"), "linux") },
		"index of itself":  func(c contents) string { return c.index(sum("x"), "linux") },
		"no Linux":         func(c contents) string { return c.index(c.image(checked), "windows") },
		"empty index":      func(c contents) string { return c.add(`{"manifests": []}`) },
		"digest is a path": func(c contents) string { return c.add(`{"config": {"digest": "../../../v2/other/blobs/sha256:aa"}}`) },
		"digest is no hex": func(c contents) string {
			return c.add(`{"config": {"digest": "sha256:` + strings.Repeat("Z", 64) + `"}}`)
		},
		"digest is a number": func(c contents) string { return c.add(`{"config": {"digest": 5}}`) },
		"digest of SHA-512": func(c contents) string {
			return c.add(`{"config": {"digest": "sha512:` + strings.Repeat("a", 128) + `"}}`)
		},
		"no JSON":          func(c contents) string { return c.add("\x00\xff<html>") },
		"config no JSON":   func(c contents) string { return c.image("\x1f\x8b nonsense") },
		"test is a text":   func(c contents) string { return c.image(`{"config": {"Healthcheck": {"Test": "curl"}}}`) },
		"test has numbers": func(c contents) string { return c.image(`{"config": {"Healthcheck": {"Test": [1, 2]}}}`) },
		"config is a list": func(c contents) string { return c.image(`[` + checked + `]`) },
		"deep":             func(c contents) string { return c.image(deep) },
		"deep manifest":    func(c contents) string { return c.add(deep) },
		"no such":          func(contents) string { return digest },
		"no digest":        func(contents) string { return "../secret" },
	} {
		c := contents{}
		d := tt(c)
		f := serve(t, c.ServeHTTP)
		r := resolver(t, registry.Settings{})
		got, err := look(t, r, f.image(), d)
		if err == nil || got != (registry.Config{}) || r.Configs() != 0 || r.Hosts() != 0 {
			t.Errorf("%s: %+v, %v; %d kept, %d slots", name, got, err, r.Configs(), r.Hosts())
		}
		if len(f.requests()) > 5 {
			t.Errorf("%s: %d requests", name, len(f.requests()))
		}
	}
}

func (c contents) index(digest, os string) string {
	return c.add(fmt.Sprintf(`{"manifests": [{"digest": %q, "platform": {"os": %q, "architecture": "amd64"}}]}`, digest, os))
}

// both is a manifest that is an index as well.
func both(c contents, image string) string {
	var m map[string]any
	_ = json.Unmarshal([]byte(c[image]), &m)
	m["manifests"] = []map[string]any{{"digest": image, "platform": map[string]any{"os": "linux"}}}
	text, _ := json.Marshal(m)
	return string(text)
}

// A config that never ends, or drips, or does not come, takes neither memory nor time without end.
func TestConfig_Endless(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"flood": func(w http.ResponseWriter, r *http.Request) {
			b := []byte(strings.Repeat("x", 64<<10))
			for r.Context().Err() == nil {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		},
		"silent":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"redirects": func(w http.ResponseWriter, r *http.Request) { to(r.URL.Path)(w, r) },
		"later": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		},
	} {
		c := contents{}
		d := c.image(checked)
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") {
				h(w, r)
				return
			}
			c.ServeHTTP(w, r)
		})
		r := resolver(t, registry.Settings{Timeout: time.Second})
		if got, err := look(t, r, f.image(), d); err == nil || r.Configs() != 0 || r.Hosts() != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if n := len(f.requests()); n > 10 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// Blobs are often at another host: it is asked if it may be, and without credentials.
func TestConfig_Redirect(t *testing.T) {
	c := contents{}
	d := c.image(checked)
	cdn := serve(t, c.ServeHTTP)
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != secret {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			to(cdn.URL+"/cdn/"+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])(w, r)
			return
		}
		c.ServeHTTP(w, r)
	})
	s := registry.Settings{DockerConfig: dockerFile(t, `{"auths": {"`+f.host+`": {"auth": "`+basic(secret)+`"}}}`)}
	_, err := look(t, resolver(t, s), f.image(), d)
	if !errors.Is(err, registry.ErrRefusedAddress) || len(cdn.requests()) > 0 {
		t.Errorf("to an address that may not be asked: %v after %d requests", err, len(cdn.requests()))
	}
	s.AllowNetworks = ownMachine
	if got, err := look(t, resolver(t, s), f.image(), d); err != nil || got != wanted() {
		t.Errorf("to one that may be: %+v, %v", got, err)
	}
	for _, r := range cdn.requests() {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("it got %v", r.Header)
		}
	}
}
