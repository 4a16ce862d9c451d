package containers_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/wadi-run/wadi/test/harness/containers"
)

func start(t *testing.T, o containers.RegistryOptions) *containers.Registry {
	t.Helper()
	r, err := containers.StartRegistry(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// program makes an image of a file that is no program.
func program(t *testing.T, options ...containers.Option) v1.Image {
	t.Helper()
	at := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(at, []byte("content"), 0o755); err != nil {
		t.Fatal(err)
	}
	image, err := containers.Program(at, options...)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func push(t *testing.T, r *containers.Registry, ref string, image v1.Image) string {
	t.Helper()
	digest, err := r.Push(ref, image)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// pull reads an image and its layers once, without retries.
func pull(ctx context.Context, ref string, options ...remote.Option) (v1.Image, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	options = append(options, remote.WithContext(ctx), remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryStatusCodes())
	image, err := remote.Image(parsed, options...)
	if err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	for _, l := range layers {
		var content interface{ Read([]byte) (int, error) }
		if content, err = l.Compressed(); err != nil {
			return nil, err
		}
		buf := make([]byte, 64<<10)
		for err == nil {
			_, err = content.Read(buf)
		}
		if err.Error() != "EOF" {
			return nil, err
		}
		err = nil
	}
	return image, err
}

func status(err error) int {
	var t *transport.Error
	if errors.As(err, &t) {
		return t.StatusCode
	}
	return 0
}

func TestProgram(t *testing.T) {
	make := func() v1.Image {
		return program(t, containers.Env("A=b"), containers.User("65534"), containers.Entrypoint("/app", "x"), containers.Cmd("y"),
			containers.Expose("8080/tcp"), containers.Healthcheck(v1.HealthConfig{Test: []string{"CMD", "/app"}}),
			containers.Label("k", "v"), containers.File("/etc/x/y", []byte("z"), 0o644))
	}
	image := make()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Env: []string{"A=b"}, User: "65534", Entrypoint: []string{"/app", "x"}, Cmd: []string{"y"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}}, Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/app"}},
		Labels: map[string]string{"k": "v"},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Error(diff)
	}
	if config.Architecture != runtime.GOARCH || config.OS != "linux" {
		t.Errorf("got platform %s/%s", config.OS, config.Architecture)
	}
	first, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := make().Digest(); err != nil || first != second {
		t.Errorf("got %v and %v (%v), want the same digest twice", first, second, err)
	}
}

func TestRegistry(t *testing.T) {
	r := start(t, containers.RegistryOptions{})
	digest := push(t, r, "app:1", program(t))
	if n := r.Count(); n != 0 {
		t.Errorf("%d requests are counted before a pull", n)
	}
	image, err := pull(t.Context(), r.Ref("app:1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := image.Digest(); err != nil || got.String() != digest {
		t.Errorf("got digest %v (%v), want %s", got, err, digest)
	}
	if m, b := r.Count(containers.KindManifest), r.Count(containers.KindBlob); m != 1 || b != 1 {
		t.Errorf("got %d manifests and %d blobs, want one of each", m, b)
	}
	r.ResetCounts()
	if n := r.Count(); n != 0 {
		t.Errorf("%d requests are left after a reset", n)
	}
	if err := r.Remove("app:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(t.Context(), r.Ref("app:1")); status(err) != http.StatusNotFound {
		t.Errorf("a removed tag: %v", err)
	}
}

func TestRegistry_Index(t *testing.T) {
	r := start(t, containers.RegistryOptions{})
	index, err := containers.Index(program(t, containers.Architecture("amd64")), program(t, containers.Architecture("arm64")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.PushIndex("app:1", index); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		image, err := pull(t.Context(), r.Ref("app:1"), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		if config, err := image.ConfigFile(); err != nil || config.Architecture != arch {
			t.Errorf("got %+v (%v), want %s", config, err, arch)
		}
	}
}

func TestRegistry_Credentials(t *testing.T) {
	right := remote.WithAuth(&authn.Basic{Username: "u", Password: "p"})
	wrong := remote.WithAuth(&authn.Basic{Username: "u", Password: "q"})
	for name, o := range map[string]containers.RegistryOptions{
		"basic": {Username: "u", Password: "p"},
		"token": {Username: "u", Password: "p", Token: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, o)
			push(t, r, "app:1", program(t))
			if _, err := pull(t.Context(), r.Ref("app:1"), right); err != nil {
				t.Errorf("with the password: %v", err)
			}
			if _, err := pull(t.Context(), r.Ref("app:1"), wrong); status(err) != http.StatusUnauthorized {
				t.Errorf("with a wrong password: %v", err)
			}
			if _, err := pull(t.Context(), r.Ref("app:1")); status(err) != http.StatusUnauthorized {
				t.Errorf("without a password: %v", err)
			}
		})
	}
	r := start(t, containers.RegistryOptions{Token: true})
	push(t, r, "app:1", program(t))
	if _, err := pull(t.Context(), r.Ref("app:1")); err != nil || r.Count(containers.KindToken) != 1 {
		t.Errorf("anybody's token: %v, %d tokens", err, r.Count(containers.KindToken))
	}
}

func TestRegistry_TLS(t *testing.T) {
	r := start(t, containers.RegistryOptions{TLS: true})
	push(t, r, "app:1", program(t))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CA())
	trusting := remote.DefaultTransport.(*http.Transport).Clone()
	trusting.TLSClientConfig.RootCAs = pool
	if _, err := pull(t.Context(), r.Ref("app:1"), remote.WithTransport(trusting)); err != nil {
		t.Errorf("with the authority: %v", err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := pull(t.Context(), r.Ref("app:1")); !errors.As(err, &unknown) && status(err) == 0 && err == nil {
		t.Error("the certificate is good without the authority")
	}
}

func TestRegistry_Faults(t *testing.T) {
	r := start(t, containers.RegistryOptions{})
	push(t, r, "app:1", program(t, containers.Noise(1<<20)))
	ctx := t.Context()
	ref := r.Ref("app:1")

	r.SetFault(containers.Fault{Status: http.StatusTooManyRequests, RetryAfter: 7 * time.Second, Times: 1, Kinds: []containers.Kind{containers.KindManifest}})
	if _, err := pull(ctx, ref); status(err) != http.StatusTooManyRequests {
		t.Errorf("told to say 429: %v", err)
	}
	if _, err := pull(ctx, ref); err != nil {
		t.Errorf("after a fault that comes once: %v", err)
	}
	r.SetFault(containers.Fault{Status: 500, Repository: "other"})
	if _, err := pull(ctx, ref); err != nil {
		t.Errorf("with a fault of another repository: %v", err)
	}
	for name, f := range map[string]containers.Fault{
		"drop": {Drop: true, Kinds: []containers.Kind{containers.KindManifest}},
		"cut":  {CutAfter: 1000, Kinds: []containers.Kind{containers.KindBlob}},
	} {
		r.SetFault(f)
		if _, err := pull(ctx, ref); err == nil || status(err) != 0 {
			t.Errorf("%s: got %v, want a broken connection", name, err)
		}
	}
	other := start(t, containers.RegistryOptions{})
	r.SetFault(containers.Fault{Redirect: "http://" + other.Address()})
	if _, err := pull(ctx, ref); err == nil || other.Count() == 0 {
		t.Errorf("redirected: %v, %d requests at the other one", err, other.Count())
	}
	for name, f := range map[string]containers.Fault{"delay": {Delay: time.Minute}, "rate": {Rate: 1000}} {
		r.SetFault(f)
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if _, err := pull(short, ref); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want a timeout", name, err)
		}
		cancel()
	}
	r.SetFault()
	if _, err := pull(ctx, ref); err != nil {
		t.Errorf("well again: %v", err)
	}
}
