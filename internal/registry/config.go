package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wadi-run/wadi/internal/imageref"
)

const (
	maxConfig  = 1 << 20         // Bytes of a manifest, and of a config, when an image is looked into.
	maxConfigs = 256             // That are kept.
	maxLook    = 5 * time.Second // A submission waits for what only helps.
)

// Config is what is read of an image's config. The zero value is that of an image with nothing
// of it.
type Config struct {
	// Healthcheck: the image has a HEALTHCHECK that is not NONE. Its command is not told: who
	// submits a service may have no right to read the image, and commands have secrets in them.
	Healthcheck bool
}

// Config reads the config of an image that has this digest; of an index it is that of the
// image for linux/amd64, else of the first one for Linux. The registry is asked with the
// agent's credentials, never again after an error, and for 5 s at most. No answer may have more
// than 1 MiB, or another digest than was asked for. What is found is kept: content of a digest
// never changes.
//
// The error says why there is none, for a log.
func (r *Resolver) Config(ctx context.Context, image, digest string) (Config, error) {
	if c, ok := r.configs.get(digest); ok {
		return c, nil
	}
	ref, err := imageref.Parse(image)
	if err != nil {
		return Config{}, fmt.Errorf("read the name of image %.200q: %w", image, err)
	}
	l := r.settings.Load()
	ctx, cancel := context.WithTimeout(ctx, min(l.Timeout, maxLook))
	defer cancel()
	release, err := r.slots.acquire(ctx, ref.Registry())
	if err != nil {
		return Config{}, fmt.Errorf("wait to ask about the config of image %.200q: %w", image, err)
	}
	defer release()
	as, err := l.login(ctx, ref, Credentials{})
	if err != nil {
		return Config{}, fmt.Errorf("log in for the config of image %.200q: %w", image, err)
	}
	s := newSession(l, ref, as)
	s.dns = r.dns
	c, err := s.config(ctx, digest)
	if err != nil {
		return Config{}, fmt.Errorf("read the config of image %.200q: %w", image, s.explain(ctx, err))
	}
	r.configs.put(digest, c)
	return c, nil
}

// manifestTypes are the manifests that have a config, and the indexes of them.
func manifestTypes() []string {
	return []string{
		"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
	}
}

// imageManifest is the part of a manifest, or of an index, that leads to a config.
type imageManifest struct {
	Config struct {
		Digest string `json:"digest"`
	} `json:"config"`
	Manifests []struct {
		Digest   string `json:"digest"`
		Platform struct {
			OS           string `json:"os"`
			Architecture string `json:"architecture"`
		} `json:"platform"`
	} `json:"manifests"`
}

var errNoConfig = errors.New("it leads to no config of an image for Linux")

// config reads the manifest of a digest, that of a platform if it is an index, and the config.
func (s *session) config(ctx context.Context, digest string) (Config, error) {
	m, err := s.manifest(ctx, digest)
	if err != nil {
		return Config{}, err
	}
	if len(m.Manifests) > 0 && m.Config.Digest == "" { // Both at once would be another thing to each reader.
		if m, err = s.manifest(ctx, m.forLinux()); err != nil {
			return Config{}, err
		}
	}
	if len(m.Manifests) > 0 || m.Config.Digest == "" {
		return Config{}, errNoConfig
	}
	text, err := s.content(ctx, "blobs", m.Config.Digest)
	if err != nil {
		return Config{}, err
	}
	return parseConfig(text)
}

func (s *session) manifest(ctx context.Context, digest string) (m imageManifest, err error) {
	text, err := s.content(ctx, "manifests", digest)
	if err != nil {
		return m, err
	}
	if json.Unmarshal(text, &m) != nil {
		return m, errNoConfig
	}
	return m, nil
}

// forLinux is the digest of an index's image for linux/amd64, else of the first one for Linux;
// empty: there is none.
func (m imageManifest) forLinux() (digest string) {
	for _, i := range m.Manifests {
		switch {
		case i.Platform.OS != "linux":
		case i.Platform.Architecture == "amd64":
			return i.Digest
		case digest == "":
			digest = i.Digest
		}
	}
	return digest
}

// content is the manifest or blob of a digest, which it is checked to have.
func (s *session) content(ctx context.Context, kind, digest string) ([]byte, error) {
	if !isDigest(digest) {
		return nil, errNoConfig
	}
	// The session sets the scheme and the host.
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://registry/v2/"+s.ref.Path()+"/"+kind+"/"+digest, nil)
	if err != nil {
		return nil, err
	}
	if kind == "manifests" {
		r.Header.Set("Accept", strings.Join(manifestTypes(), ", "))
	}
	answer, err := s.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, problem(ErrMalformed, fmt.Sprintf("its registry answers with status %d", answer.StatusCode), "")
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxConfig+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxConfig:
		return nil, problem(ErrMalformed, fmt.Sprintf("its registry's answer has more than %d bytes", maxConfig), "")
	case fmt.Sprintf("sha256:%x", sha256.Sum256(text)) != digest:
		return nil, problem(ErrMalformed, "its registry's answer has another digest than was asked for", "")
	}
	return text, nil
}

// isDigest reports whether a text is a digest of SHA-256, which is put into a URL.
func isDigest(text string) bool {
	hex, ok := strings.CutPrefix(text, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// parseConfig reads the config of an image. What is left out there, or empty, comes from no
// other image: a build writes what it inherits.
func parseConfig(text []byte) (Config, error) {
	var c struct {
		Config struct {
			Healthcheck struct{ Test []string }
		} `json:"config"`
	}
	if json.Unmarshal(text, &c) != nil {
		return Config{}, problem(ErrMalformed, "its config is not that of an image", "")
	}
	test := c.Config.Healthcheck.Test
	return Config{Healthcheck: len(test) > 0 && test[0] != "NONE"}, nil
}

// configs keeps what was found last, by digest. The zero value is ready.
type configs struct {
	mu     sync.Mutex
	found  map[string]Config
	recent []string // Digests; the one that was used last is last.
}

func (c *configs) get(digest string) (Config, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.found[digest]
	if ok {
		c.use(digest)
	}
	return found, ok
}

func (c *configs) put(digest string, found Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found == nil {
		c.found = map[string]Config{}
	}
	c.found[digest] = found
	if c.use(digest); len(c.recent) > maxConfigs {
		delete(c.found, c.recent[0])
		c.recent = c.recent[1:]
	}
}

func (c *configs) use(digest string) {
	c.recent = append(slices.DeleteFunc(c.recent, func(d string) bool { return d == digest }), digest)
}
