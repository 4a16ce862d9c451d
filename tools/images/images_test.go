package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// made are options of a release in a folder of its own.
func made(t *testing.T, more ...string) options {
	t.Helper()
	o, err := parse(append([]string{"-version", "0.1.0", "-revision", "abc", "-epoch", "1700000000", "-out", t.TempDir()}, more...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// given is a builder whose programs are there already, in another folder and of another time
// with each call. Each is this test's own program if real, else a text.
func given(t *testing.T, real bool) *builder {
	t.Helper()
	b := &builder{dir: t.TempDir(), built: map[program]string{}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		for _, platform := range platforms {
			for _, f := range p.files(platform) {
				key := program{pkg: f.pkg, platform: f.platform}
				b.built[key] = self
				if real {
					continue
				}
				file := filepath.Join(b.dir, strings.ReplaceAll(f.pkg+f.platform, "/", "_"))
				if err := os.WriteFile(file, []byte("program "+f.pkg+" for "+f.platform), 0o600); err != nil {
					t.Fatal(err)
				}
				b.built[key] = file
			}
		}
	}
	return b
}

func digest(t *testing.T, i interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

// An image depends on its programs, the version and the given time alone.
func TestImage_Reproducible(t *testing.T) {
	for image := range parts {
		for _, platform := range platforms {
			one, err1 := made(t).image(t.Context(), given(t, false), image, platform)
			two, err2 := made(t).image(t.Context(), given(t, false), image, platform)
			later, err3 := made(t, "-epoch", "1700000001").image(t.Context(), given(t, false), image, platform)
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Fatal(err)
			}
			if digest(t, one) != digest(t, two) || digest(t, one) == digest(t, later) {
				t.Errorf("%s for %s: digests %s and %s of the same, %s of another time", image, platform, digest(t, one), digest(t, two), digest(t, later))
			}
		}
	}
}

// The image of the agent runs as nobody, says what it is, and has the sidecar for every
// platform.
func TestImage(t *testing.T) {
	img, err := made(t).image(t.Context(), given(t, false), "wadi", "linux/arm64")
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "arm64" || config.OS != "linux" || config.Config.User != "65532:65532" || !config.Created.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("config %+v", config)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, has := range []map[string]string{manifest.Annotations, config.Config.Labels} {
		for key, want := range map[string]string{"title": "wadi", "version": "0.1.0", "revision": "abc", "licenses": "Apache-2.0", "created": "2023-11-14T22:13:20Z", "source": "https://github.com/wadi-run/wadi"} {
			if got := has["org.opencontainers.image."+key]; got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
	}
	want := []string{
		"tmp/ drwxrwxrwx 0 ", "var/lib/wadi/ drwxr-x--- 65532 ", "assets/ drwxr-xr-x 0 ",
		"assets/queue-proxy_linux_amd64 -rwxr-xr-x 0 program ./cmd/queue-proxy for linux/amd64",
		"assets/queue-proxy_linux_arm64 -rwxr-xr-x 0 program ./cmd/queue-proxy for linux/arm64",
		"wadi -rwxr-xr-x 0 program ./cmd/wadi for linux/arm64",
	}
	if diff := cmp.Diff(want, content(t, img)); diff != "" {
		t.Error(diff)
	}
}

// content are the files of an image: name, mode, owner, text.
func content(t *testing.T, img v1.Image) (out []string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers: %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(1_700_000_000, 0)) || h.Uname+h.Gname != "" {
			t.Errorf("%s is of %s, and of %q", h.Name, h.ModTime, h.Uname+h.Gname)
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		mode := fs.FileMode(h.Mode).Perm()
		if h.Typeflag == tar.TypeDir {
			mode |= fs.ModeDir
		}
		owner := "0"
		if h.Uid == nobody {
			owner = "65532"
		}
		out = append(out, h.Name+" "+mode.String()+" "+owner+" "+string(text))
	}
}

// What is written is complete: the layout of both platforms, a tarball for engines under
// all tags, and checksums. Pushed, a registry has the same digest under all tags.
func TestOne(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	o := made(t, "-tags", "0.1", "-push", at+"/mine/")
	files, err := o.one(t.Context(), given(t, true), "queue-proxy", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.sums(files); err != nil {
		t.Fatal(err)
	}
	check := exec.Command("sha256sum", "--strict", "-c", "wadi_0.1.0_images_SHA256SUMS")
	check.Dir = o.out
	if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 4 {
		t.Errorf("checksums: %v\n%s", err, out)
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(o.out, "image_queue-proxy_0.1.0.oci"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	written, err := index.IndexManifest()
	if err != nil || len(written.Manifests) != 1 {
		t.Fatalf("index %+v: %v", written, err)
	}
	for _, tag := range []string{"0.1.0", "0.1"} {
		ref, err := name.ParseReference(at + "/mine/queue-proxy:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		pushed, err := remote.Index(ref)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := digest(t, pushed), written.Manifests[0].Digest.String(); got != want {
			t.Errorf("%s has the digest %s, want %s", ref, got, want)
		}
		arm, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "arm64"}))
		if err != nil {
			t.Fatal(err)
		}
		local, err := name.NewTag("wadi/queue-proxy:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := tarball.ImageFromPath(filepath.Join(o.out, "image_queue-proxy_0.1.0_linux_arm64.tar"), &local)
		if err != nil {
			t.Fatal(err)
		}
		one, err1 := arm.ConfigName()
		two, err2 := loaded.ConfigName()
		if err := errors.Join(err1, err2); err != nil || one != two {
			t.Errorf("%s: configs %s and %s: %v", tag, one, two, err)
		}
	}
}

// The list of what is in an image is as CycloneDX's schema says, names each module once with
// its version and checksum, and is the same for the same programs.
func TestInventory(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := made(t).inventory("wadi", "linux/amd64", []string{self, self})
	if err != nil {
		t.Fatal(err)
	}
	if err := schema(t).Validate(document(t, got)); err != nil {
		t.Errorf("not as the schema says: %v\n%s", err, got)
	}
	again, err := made(t).inventory("wadi", "linux/amd64", []string{self})
	if err != nil || !bytes.Equal(got, again) {
		t.Errorf("the second list differs: %v", err)
	}
	other, err := made(t).inventory("wadi", "linux/arm64", []string{self})
	if err != nil || bytes.Equal(got, other) {
		t.Errorf("another platform's is the same: %v", err)
	}
	var bom struct {
		Components []struct {
			Name, Version, Purl string
			Hashes              []struct{ Content string }
		}
	}
	if err := json.Unmarshal(got, &bom); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range bom.Components {
		names = append(names, c.Name)
		if c.Name == "golang.org/x/sync" && (c.Version == "" || len(c.Hashes) != 1 || len(c.Hashes[0].Content) != 64 || c.Purl != "pkg:golang/golang.org/x/sync@"+c.Version) {
			t.Errorf("component %+v", c)
		}
	}
	if !slices.Contains(names, "std") || !slices.Contains(names, "golang.org/x/sync") {
		t.Errorf("components %q", names)
	}
	if _, err := made(t).inventory("wadi", "linux/amd64", []string{os.DevNull}); err == nil {
		t.Error("no error for a file that is no program")
	}
}

// schema is CycloneDX's, which its module has beside its code.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	const base = "http://cyclonedx.org/schema/"
	c := jsonschema.NewCompiler()
	for id, file := range map[string]string{"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		content, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(base+id, document(t, content)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile(base + "bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func document(t *testing.T, content []byte) any {
	t.Helper()
	d, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestParse(t *testing.T) {
	other := map[bool]string{true: "arm64", false: "amd64"}[runtime.GOARCH == "amd64"]
	for args, want := range map[string]string{
		"-version 1 -epoch 7 -platforms linux/arm64":          "",
		"-version 1 -epoch 7 -images hello,wadi":              "",
		"-version 1 -epoch 7 -platforms darwin/arm64":         `there is no image for "darwin/arm64"`,
		"-version 1 -epoch 7 -platforms ,":                    "each need one",
		"-version 1 -epoch 7 -images wadi,envoy":              `there is no image "envoy"; there are hello, queue-proxy, wadi`,
		"-epoch 7":                                            "-version is required",
		"-version 1+dirty -epoch 7":                           "no tag of an image",
		"-version 1 -tags .hidden -epoch 7":                   "no tag of an image",
		"-version 1 -epoch yesterday":                         "no number of seconds",
		"-version 1 -epoch 7 more":                            "too many arguments: more",
		"-version 1 -epoch 7 -push 127.0.0.1:1/":              "",
		"-version 1 -epoch 7 -load -platforms linux/" + other: "which is not among -platforms",
	} {
		_, err := parse(strings.Fields(args), io.Discard)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}
