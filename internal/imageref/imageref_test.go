package imageref_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/imageref"
)

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestParse(t *testing.T) {
	for text, want := range map[string]imageref.Image{
		"nginx":                              {Name: "docker.io/library/nginx", Tag: "latest"},
		"nginx:1.29":                         {Name: "docker.io/library/nginx", Tag: "1.29"},
		"acme/web":                           {Name: "docker.io/acme/web", Tag: "latest"},
		"index.docker.io/acme/web":           {Name: "docker.io/acme/web", Tag: "latest"},
		"docker://quay.io/acme/web:1":        {Name: "quay.io/acme/web", Tag: "1"},
		"https://ghcr.io/acme/web:1":         {Name: "ghcr.io/acme/web", Tag: "1"},
		"localhost:5000/web":                 {Name: "localhost:5000/web", Tag: "latest"},
		"[fd00::1]:5000/a/b:c":               {Name: "[fd00::1]:5000/a/b", Tag: "c"},
		"r.example.com:5000/a/b:1@" + digest: {Name: "r.example.com:5000/a/b", Tag: "1", Digest: digest},
		"nginx@" + digest:                    {Name: "docker.io/library/nginx", Digest: digest},
	} {
		got, err := imageref.Parse(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("Parse(%q): %v\n%s", text, err, diff)
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	for text, isLocal := range map[string]bool{
		"": false, "acme/Web": false, "a b": false, "nginx:": false, "nginx@sha256:12": false, "nginx@md5:aaaa": false,
		"${IMAGE}": false, "http://r.example.com/a": false, "user:pass@r.example.com/a": false, "r.example.com/../a": false,
		strings.Repeat("a", 5000):      false,
		"oci-archive:/tmp/a.tar":       true,
		"docker-archive:/tmp/a.tar":    true,
		"containers-storage:docker.io": true,
		"sha256:1234":                  true,
	} {
		if got, err := imageref.Parse(text); err == nil || errors.Is(err, imageref.ErrLocal) != isLocal {
			t.Errorf("Parse(%.80q) = %v, %v, want an error, about what a node has: %v", text, got, err, isLocal)
		}
	}
}

func TestImage_Parts(t *testing.T) {
	i, err := imageref.Parse("r.example.com:5000/a/b:1")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{i.Registry(), i.Path(), i.At(digest), i.String()}
	want := []string{"r.example.com:5000", "a/b", "r.example.com:5000/a/b@" + digest, "r.example.com:5000/a/b:1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is read is the same when it is read again, and its parts hold together.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"nginx", "docker://a.b/c:d", "localhost:1/a@" + digest, "[::1]:5/a", "oci:x", "a.b:1/c/d__e:f-g"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, err := imageref.Parse(text)
		if err != nil {
			return
		}
		again, err := imageref.Parse(i.String())
		if err != nil || again != i {
			t.Errorf("%q is %+v, and read again %+v, %v", text, i, again, err)
		}
		if i.Registry()+"/"+i.Path() != i.Name || i.Registry() == "" || i.Path() == "" || strings.ContainsAny(i.Name, " @?#\\%\n") {
			t.Errorf("%q has the name %q", text, i.Name)
		}
	})
}
