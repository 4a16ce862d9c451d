package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wadi-run/wadi/tools/programs"
)

// release builds all images, writes them, and pushes and loads them where it is asked to.
func (o options) release(ctx context.Context, out io.Writer) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	work, err := os.MkdirTemp("", "wadi-images-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	b := &builder{source: programs.Source{Root: o.root, Version: o.version}, dir: work, built: map[program]string{}}
	var written []string
	for _, image := range o.images {
		files, err := o.one(ctx, b, image, out)
		if err != nil {
			return fmt.Errorf("image %s: %w", image, err)
		}
		written = append(written, files...)
	}
	return o.sums(written)
}

// one builds one image for all platforms. It returns the files that it has written, without
// their folder; an image's layout is a folder, and its own checksum.
func (o options) one(ctx context.Context, b *builder, image string, out io.Writer) (written []string, err error) {
	base := fmt.Sprintf("image_%s_%s", image, o.version)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range o.platforms {
		began := time.Now()
		img, err := o.image(ctx, b, image, platform)
		if err != nil {
			return nil, fmt.Errorf("build for %s: %w", platform, err)
		}
		system, arch, _ := strings.Cut(platform, "/")
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: system, Architecture: arch}}})
		of := base + "_" + system + "_" + arch
		if err := o.writeTarball(filepath.Join(o.out, of+".tar"), image, img); err != nil {
			return nil, fmt.Errorf("write for %s: %w", platform, err)
		}
		if err := o.writeInventory(ctx, b, filepath.Join(o.out, of+".cdx.json"), image, platform); err != nil {
			return nil, err
		}
		written = append(written, of+".tar", of+".cdx.json")
		fmt.Fprintf(out, "%s (%.1fs)\n", filepath.Join(o.out, of+".tar"), time.Since(began).Seconds())
		if o.load && arch == runtime.GOARCH {
			if err := load(ctx, filepath.Join(o.out, of+".tar")); err != nil {
				return nil, err
			}
			fmt.Fprintf(out, "loaded %s\n", o.reference(o.prefix, image, o.tags[len(o.tags)-1]))
		}
	}
	whole := mutate.Annotations(index, o.labels(parts[image])).(v1.ImageIndex)
	digest, err := whole.Digest()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(o.out, base+".oci")
	if err := o.writeLayout(path, whole); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	fmt.Fprintf(out, "%s %s\n", path, digest)
	return written, o.pushAll(ctx, image, whole, out)
}

func (o options) reference(prefix, image, tag string) string {
	if prefix != "" {
		prefix += "/"
	}
	return prefix + image + ":" + tag
}

// writeTarball writes an image as "docker load" takes it, under all its tags.
func (o options) writeTarball(path, image string, img v1.Image) error {
	refs := map[name.Tag]v1.Image{}
	for _, t := range o.tags {
		tag, err := name.NewTag(o.reference(o.prefix, image, t))
		if err != nil {
			return err
		}
		refs[tag] = img
	}
	return tarball.MultiWriteToFile(path, refs)
}

// writeLayout replaces the layout of an index.
func (o options) writeLayout(path string, index v1.ImageIndex) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	l, err := layout.Write(path, empty.Index)
	if err != nil {
		return err
	}
	return l.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": o.version}))
}

func (o options) writeInventory(ctx context.Context, b *builder, path, image, platform string) error {
	var files []string
	for _, p := range parts[image].files(platform) {
		f, err := b.file(ctx, p)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	content, err := o.inventory(image, platform, files)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// pushAll pushes an image for all its platforms, under all its tags.
func (o options) pushAll(ctx context.Context, image string, index v1.ImageIndex, out io.Writer) error {
	if o.push == "" {
		return nil
	}
	for _, t := range o.tags {
		ref, err := name.NewTag(o.reference(o.push, image, t))
		if err != nil {
			return fmt.Errorf("push: %w", err)
		}
		err = remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
		if err != nil {
			return fmt.Errorf("push %s: %w", ref, err)
		}
		fmt.Fprintf(out, "pushed %s\n", ref)
	}
	return nil
}

// load has the command docker load an image: it knows contexts, DOCKER_HOST and TLS.
func load(ctx context.Context, path string) error {
	text, err := exec.CommandContext(ctx, "docker", "load", "--quiet", "--input", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("docker load: %w\n%s", err, strings.TrimSpace(string(text)))
	}
	return nil
}

// sums writes the checksums of files as sha256sum does, so that it can check them.
func (o options) sums(files []string) error {
	var b strings.Builder
	for _, f := range slices.Sorted(slices.Values(files)) {
		content, err := os.ReadFile(filepath.Join(o.out, f))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), f)
	}
	return os.WriteFile(filepath.Join(o.out, fmt.Sprintf("wadi_%s_images_SHA256SUMS", o.version)), []byte(b.String()), 0o644)
}
