package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
)

// maxFile bounds a file, so that a wrong argument such as a device does not fill the
// memory.
const maxFile = 16 << 20

// stdinName stands for standard input in messages.
const stdinName = "<stdin>"

// filePaths replaces directories by the .hcl files directly in them.
func filePaths(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		if arg == "-" {
			if slices.Contains(out, "-") {
				return nil, usagef("standard input can be read once only")
			}
			out = append(out, arg)
			continue
		}
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, arg)
			continue
		}
		found, err := filepath.Glob(filepath.Join(escapeGlob(arg), "*.hcl"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s has no .hcl file", arg)
		}
		out = append(out, found...)
	}
	return out, nil
}

func escapeGlob(path string) string {
	var out []rune
	for _, r := range path {
		if r == '*' || r == '?' || r == '[' || r == '\\' {
			out = append(out, '\\')
		}
		out = append(out, r)
	}
	return string(out)
}

func readSource(stdin io.Reader, path string) (api.File, error) {
	name, in := path, stdin
	if path == "-" {
		name = stdinName
	} else {
		f, err := os.Open(path)
		if err != nil {
			return api.File{}, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return api.File{}, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > maxFile {
		return api.File{}, fmt.Errorf("read %s: it has more than %d bytes", name, maxFile)
	}
	return api.File{Name: name, Source: string(b)}, nil
}

func readSources(stdin io.Reader, args []string) ([]api.File, error) {
	paths, err := filePaths(args)
	if err != nil {
		return nil, err
	}
	var out []api.File
	var failed []error
	for _, path := range paths {
		f, err := readSource(stdin, path)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		out = append(out, f)
	}
	return out, errors.Join(failed...)
}

// outline is what a file declares, without evaluating it.
type outline struct {
	services  int
	names     []string // Of services.
	variables []string
}

func outlineOf(f api.File) outline {
	var out outline
	// The agent reports mistakes in the file better.
	parsed, _ := hclsyntax.ParseConfig([]byte(f.Source), f.Name, hcl.InitialPos)
	if parsed == nil {
		return out
	}
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok {
		return out
	}
	for _, b := range body.Blocks {
		switch {
		case b.Type == "service":
			out.services++
			out.names = append(out.names, strings.Join(b.Labels, " "))
		case b.Type == "variable" && len(b.Labels) > 0:
			out.variables = append(out.variables, b.Labels[0])
		}
	}
	return out
}

// batches splits files into submissions that an agent accepts. A file is never split.
func batches(files []api.File) [][]api.File {
	var out [][]api.File
	services := 0
	for _, f := range files {
		n := outlineOf(f).services
		if len(out) == 0 || services+n > jobspecs.MaxServices {
			out, services = append(out, nil), 0
		}
		out[len(out)-1] = append(out[len(out)-1], f)
		services += n
	}
	return out
}

// errorOf joins the problems that are no warnings.
func errorOf(problems []wadi.Problem) error {
	var all []error
	for _, p := range problems {
		if !p.Warning {
			all = append(all, errors.New(p.String()))
		}
	}
	return errors.Join(all...)
}
