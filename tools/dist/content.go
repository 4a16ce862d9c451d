package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wadi-run/wadi/tools/programs"
)

// file is a file of an archive.
type file struct {
	name   string // In the archive, with slashes.
	source string
	mode   fs.FileMode
}

// content are the files of every archive, and where they are in the checkout. A folder
// stands for all files in it and below.
var content = []struct{ name, source string }{
	{"LICENSE", "LICENSE"},
	{"README.md", "README.md"},
	{"CHANGELOG.md", "CHANGELOG.md"},
	{"docs", "docs"},
	{"example.hcl", "agent/config/example.hcl"},
	{"examples/annotated.hcl", "jobspecs/examples/annotated.hcl"},
	{"examples/hello.hcl", "jobspecs/examples/hello.hcl"},
	{"examples/hello-docker.hcl", "jobspecs/examples/hello-docker.hcl"},
	{"system", "jobspecs/system"},
	{"completion", "packaging/completion"},
	{"prometheus", "packaging/prometheus"},
	{"systemd", "packaging/systemd"},
}

// archive builds one platform's archive, and returns its name.
func (o options) archive(ctx context.Context, platform string) (string, error) {
	work, err := os.MkdirTemp("", "wadi-dist-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	files, err := o.programs(ctx, platform, work)
	if err != nil {
		return "", err
	}
	for _, c := range content {
		more, err := under(c.name, filepath.Join(o.root, c.source))
		if err != nil {
			return "", err
		}
		files = append(files, more...)
	}
	name, write := "wadi_"+o.version+"_"+strings.ReplaceAll(platform, "/", "_"), writeTarGz
	if strings.HasPrefix(platform, "windows/") {
		name, write = name+".zip", writeZip
	} else {
		name += ".tar.gz"
	}
	return name, whole(filepath.Join(o.out, name), files, o.modified, write)
}

// programs builds the platform's programs: agents and instances need Linux.
func (o options) programs(ctx context.Context, platform, work string) ([]file, error) {
	system, _, _ := strings.Cut(platform, "/")
	commands, suffix := []string{"wadi"}, ""
	switch system {
	case "linux":
		commands = append(commands, "queue-proxy")
	case "windows":
		suffix = ".exe"
	}
	var out []file
	for _, c := range commands {
		f := file{c + suffix, filepath.Join(work, c+suffix), 0o755}
		if err := o.source().Build(ctx, platform, "./cmd/"+c, f.source); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	if system != "linux" {
		return out, nil
	}
	for _, other := range platforms { // For nodes of another kind, which fetch it from agents.
		if other == platform || !strings.HasPrefix(other, "linux/") {
			continue
		}
		name := "queue-proxy_" + strings.ReplaceAll(other, "/", "_")
		f := file{"assets/" + name, filepath.Join(work, name), 0o755}
		if err := o.source().Build(ctx, other, "./cmd/queue-proxy", f.source); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// source is what all programs are built from.
func (o options) source() programs.Source { return programs.Source{Root: o.root, Version: o.version} }

// under lists a file, or all files of a folder but Go's and their data.
func under(name, source string) (out []file, err error) {
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(path, ".go"):
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is no plain file", path)
		}
		rel, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		f := file{name, path, 0o644}
		if rel != "." {
			f.name += "/" + filepath.ToSlash(rel)
		}
		out = append(out, f)
		return nil
	})
	return out, err
}
