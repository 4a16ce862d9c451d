package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// made makes files of a checkout at a time, in a given order.
func made(t *testing.T, at time.Time, names ...string) (out []file) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		f := file{name, filepath.Join(dir, filepath.Base(name)), 0o644}
		if !strings.Contains(name, ".") {
			f.mode = 0o755
		}
		if err := errors.Join(os.WriteFile(f.source, []byte("this is "+name), 0o600), os.Chtimes(f.source, at, at)); err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// The bytes of an archive depend on names, contents and the given time alone.
func TestWhole_Reproducible(t *testing.T) {
	commit := time.Unix(1_700_000_000, 0).UTC()
	for name, write := range map[string]writer{"a.tar.gz": writeTarGz, "a.zip": writeZip} {
		one, two := filepath.Join(t.TempDir(), name), filepath.Join(t.TempDir(), name)
		err := errors.Join(
			whole(one, made(t, time.Now(), "wadi", "docs/a.md", "LICENSE."), commit, write),
			whole(two, made(t, time.Now().Add(-time.Hour), "LICENSE.", "wadi", "docs/a.md"), commit, write),
		)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := os.ReadFile(one)
		b, _ := os.ReadFile(two)
		if len(a) == 0 || !bytes.Equal(a, b) {
			t.Errorf("%s: %d and %d bytes that differ", name, len(a), len(b))
		}
		if err := whole(two, made(t, commit, "wadi"), commit.Add(time.Minute), write); err != nil {
			t.Fatal(err)
		}
	}
}

// What is packed is there again, with its mode, and nothing is left behind by a failure.
func TestWhole(t *testing.T) {
	dir := t.TempDir()
	files := made(t, time.Now(), "wadi", "docs/a.md")
	if err := errors.Join(whole(filepath.Join(dir, "a.tar.gz"), files, time.Unix(9, 0), writeTarGz), whole(filepath.Join(dir, "a.zip"), files, time.Unix(9, 0), writeZip)); err != nil {
		t.Fatal(err)
	}
	want := "docs/a.md -rw-r--r-- this is docs/a.md\nwadi -rwxr-xr-x this is wadi\n"
	if got := untar(t, filepath.Join(dir, "a.tar.gz")); got != want {
		t.Errorf("tar: got %q, want %q", got, want)
	}
	if got := unzip(t, filepath.Join(dir, "a.zip")); got != want {
		t.Errorf("zip: got %q, want %q", got, want)
	}
	missing := append(files, file{"gone", filepath.Join(dir, "gone"), 0o644})
	if err := whole(filepath.Join(dir, "b.zip"), missing, time.Unix(9, 0), writeZip); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

func untar(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out.String()
		} else if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		out.WriteString(h.Name + " " + h.FileInfo().Mode().String() + " " + string(b) + "\n")
	}
}

func unzip(t *testing.T, path string) string {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var out strings.Builder
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		out.WriteString(f.Name + " " + f.Mode().String() + " " + string(b) + "\n")
	}
	return out.String()
}

// Everything that an archive promises is in the checkout, once, and without Go's files.
func TestContent(t *testing.T) {
	var names []string
	for _, c := range content {
		files, err := under(c.name, filepath.Join("../..", c.source))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files: %v", c.name, len(files), err)
		}
		for _, f := range files {
			names = append(names, f.name)
			if strings.HasSuffix(f.name, ".go") || strings.Contains(f.name, "testdata") || strings.HasPrefix(f.name, "/") || strings.Contains(f.name, "..") {
				t.Errorf("%s is in the archive", f.name)
			}
		}
	}
	for _, want := range []string{"system/wadi.nomad.hcl", "completion/_wadi", "docs/security.md", "example.hcl"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("a name is there twice: %v", names)
	}
}

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"-version 1 -epoch 7 -platforms linux/amd64,windows/arm64": "",
		"-version 1 -epoch 7 -platforms plan9/amd64":               `there is no archive for "plan9/amd64"`,
		"-version 1 -epoch 7 -platforms":                           "",
		"-epoch 7":                                                 "-version",
		"-version ../x -epoch 7":                                   "-version",
		"-version 1 -epoch yesterday":                              "no number of seconds",
		"-version 1 -epoch 7 more":                                 "too many arguments: more",
	} {
		var stderr strings.Builder
		_, err := parse(strings.Fields(args), &stderr)
		switch {
		case strings.HasSuffix(args, "-platforms"): // Without its value.
			if err == nil {
				t.Errorf("%s: no error", args)
			}
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

// The file of checksums is what sha256sum reads.
func TestWriteSums(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "b"), []byte("abc"), 0o600), os.WriteFile(filepath.Join(dir, "a"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := writeSums(dir, "SUMS", []string{"b", "a"}); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(filepath.Join(dir, "SUMS"))
	want := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\nba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n"
	if string(got) != want {
		t.Errorf("got %q", got)
	}
}
