package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wadi-run/wadi/tools/programs"
)

// builder builds each program once, whatever images it is in.
type builder struct {
	source programs.Source
	dir    string
	built  map[program]string // The file, by package and platform.
}

func (b *builder) file(ctx context.Context, p program) (string, error) {
	key := program{pkg: p.pkg, platform: p.platform}
	if f, ok := b.built[key]; ok {
		return f, nil
	}
	f := filepath.Join(b.dir, strings.ReplaceAll(p.platform, "/", "_"), path.Base(p.pkg))
	if err := b.source.Build(ctx, p.platform, p.pkg, f); err != nil {
		return "", err
	}
	b.built[key] = f
	return f, nil
}

// layer is the image's only layer, as a tar file.
func (p part) layer(ctx context.Context, b *builder, platform string, created time.Time) ([]byte, error) {
	var buf bytes.Buffer
	t := tar.NewWriter(&buf)
	made := map[string]bool{}
	folder := func(name string, uid int, mode int64) error {
		if made[name] {
			return nil
		}
		made[name] = true
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: uid, Gid: uid, ModTime: created, Format: tar.FormatUSTAR})
	}
	if err := folder("tmp", 0, 0o1777); err != nil {
		return nil, err
	}
	for _, f := range p.folders {
		if err := folder(f, nobody, 0o750); err != nil {
			return nil, err
		}
	}
	for _, f := range p.files(platform) {
		source, err := b.file(ctx, f)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		if dir := path.Dir(f.path); dir != "." {
			if err := folder(dir, 0, 0o755); err != nil {
				return nil, err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: 0o755, Size: int64(len(content)), ModTime: created, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(content); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), t.Close()
}

// image makes the image of one platform.
func (o options) image(ctx context.Context, b *builder, name, platform string) (v1.Image, error) {
	p := parts[name]
	content, err := p.layer(ctx, b, platform, o.created)
	if err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching,
	)
	if err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	system, arch, _ := strings.Cut(platform, "/")
	var ports map[string]struct{}
	if len(p.ports) > 0 {
		ports = map[string]struct{}{}
	}
	for _, port := range p.ports {
		ports[port] = struct{}{}
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err1 := mutate.ConfigFile(img, &v1.ConfigFile{
		OS: system, Architecture: arch, Created: v1.Time{Time: o.created},
		Config: v1.Config{
			User: fmt.Sprintf("%d:%d", nobody, nobody), Entrypoint: p.entry, Cmd: p.args, ExposedPorts: ports,
			Env: []string{"PATH=/"}, WorkingDir: "/", Labels: o.labels(p),
		},
		RootFS: v1.RootFS{Type: "layers"},
	})
	img, err2 := mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: o.created}, CreatedBy: "make images"}})
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return mutate.Annotations(img, o.labels(p)).(v1.Image), nil
}

// labels are OCI's names for what an image is, as labels and as annotations.
func (o options) labels(p part) map[string]string {
	out := map[string]string{
		"org.opencontainers.image.title":       p.title,
		"org.opencontainers.image.description": p.description,
		"org.opencontainers.image.version":     o.version,
		"org.opencontainers.image.created":     o.created.Format(time.RFC3339),
		"org.opencontainers.image.source":      source,
		"org.opencontainers.image.licenses":    license,
	}
	if o.revision != "" {
		out["org.opencontainers.image.revision"] = o.revision
	}
	return out
}

const (
	source  = "https://github.com/wadi-run/wadi"
	license = "Apache-2.0"
)
