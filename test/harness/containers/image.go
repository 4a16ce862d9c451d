package containers

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Option changes an image that [Program] makes.
type Option func(*content)

// content is what an image is made of.
type content struct {
	config v1.ConfigFile
	files  map[string]file // By absolute path.
	noise  int64
}

type file struct {
	data []byte
	mode int64
}

// Env adds variables, each NAME=value.
func Env(vars ...string) Option {
	return func(c *content) { c.config.Config.Env = append(c.config.Config.Env, vars...) }
}

// User sets the user, such as "65534:65534".
func User(user string) Option { return func(c *content) { c.config.Config.User = user } }

// Entrypoint replaces the entrypoint, which is the program without arguments.
func Entrypoint(args ...string) Option {
	return func(c *content) { c.config.Config.Entrypoint = args }
}

// Cmd sets the default arguments.
func Cmd(args ...string) Option { return func(c *content) { c.config.Config.Cmd = args } }

// Expose adds ports, such as "8080/tcp".
func Expose(ports ...string) Option {
	return func(c *content) {
		for _, p := range ports {
			c.config.Config.ExposedPorts[p] = struct{}{}
		}
	}
}

// Healthcheck sets the image's HEALTHCHECK.
func Healthcheck(h v1.HealthConfig) Option {
	return func(c *content) { c.config.Config.Healthcheck = &h }
}

// Label sets a label.
func Label(key, value string) Option {
	return func(c *content) { c.config.Config.Labels[key] = value }
}

// Architecture says that the image is for another architecture, whatever its program is.
func Architecture(name string) Option { return func(c *content) { c.config.Architecture = name } }

// File adds a file at an absolute path.
func File(at string, data []byte, mode int64) Option {
	return func(c *content) { c.files[at] = file{data, mode} }
}

// Noise adds a layer of this many bytes that no compression shrinks: for pulls that last.
func Noise(bytes int64) Option { return func(c *content) { c.noise = bytes } }

// Program makes an image from scratch with one static program, in the root folder under
// its own name. The same arguments make the same digest.
func Program(program string, options ...Option) (v1.Image, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	at := "/" + filepath.Base(program)
	return makeImage(append([]Option{File(at, data, 0o755), Entrypoint(at)}, options...)...)
}

func makeImage(options ...Option) (v1.Image, error) {
	c := content{files: map[string]file{}, config: v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux"}}
	c.config.Config.ExposedPorts, c.config.Config.Labels = map[string]struct{}{}, map[string]string{}
	for _, o := range options {
		o(&c)
	}
	layer, err := c.layer()
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	layers := []v1.Layer{layer}
	if c.noise > 0 {
		noise := content{files: map[string]file{"/noise": {data: randomBytes(c.noise), mode: 0o444}}}
		layer, err := noise.layer()
		if err != nil {
			return nil, fmt.Errorf("make an image: %w", err)
		}
		layers = append(layers, layer)
	}
	image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.DockerManifestSchema2), &c.config)
	if err == nil {
		image = mutate.ConfigMediaType(image, types.DockerConfigJSON)
		image, err = mutate.AppendLayers(image, layers...)
	}
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	return image, nil
}

// layer is not compressed: that takes longer than all that is done with it here.
func (c content) layer() (v1.Layer, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	made := map[string]bool{"/": true}
	var mkdir func(dir string) error
	mkdir = func(dir string) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := mkdir(path.Dir(dir)); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755})
	}
	for _, at := range slices.Sorted(maps.Keys(c.files)) {
		if err := mkdir(path.Dir(at)); err != nil {
			return nil, err
		}
		f := c.files[at]
		if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(at, "/"), Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(out.Bytes(), types.DockerUncompressedLayer), nil
}

func randomBytes(n int64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // It never fails.
	return b
}

// Index makes an index of images for several platforms; each image's own architecture is
// the platform's.
func Index(images ...v1.Image) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	for _, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("make an index: %w", err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: config.OS, Architecture: config.Architecture}},
		})
	}
	return index, nil
}

// writeArchive writes what `docker load` reads.
func writeArchive(w io.Writer, ref string, image v1.Image) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("write an image: %w", err)
	}
	return tarball.Write(tag, image, w)
}
