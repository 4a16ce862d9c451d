package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/wadi-run/wadi/jobspecs"
)

func fmtCommand() command {
	var check, write bool
	return command{
		usage:    "wadi fmt [options] FILE|DIR|- ...",
		synopsis: "Format HCL files",
		help: `Files are rewritten in place, and their names printed if they changed. With - standard
input is read and standard output written. Nothing is sent to an agent.`,
		min: 1, max: -1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&check, "check", false, "change nothing; exit 1 and print the names of files that would change")
			fs.BoolVar(&write, "write", true, "rewrite the files; false: print them instead")
		},
		run: func(_ context.Context, c *call) error {
			paths, err := filePaths(c.args)
			if err != nil {
				return err
			}
			var failed bool
			for _, path := range paths {
				ok, err := formatFile(c, path, check, write)
				if err != nil {
					c.errorf("%v", err)
				}
				failed = failed || err != nil || !ok
			}
			if failed {
				return errReported
			}
			return nil
		},
	}
}

// formatFile reports whether a file is formatted, now or already.
func formatFile(c *call, path string, check, write bool) (bool, error) {
	f, err := readSource(c.stdin, path)
	if err != nil {
		return false, err
	}
	out, problems := jobspecs.Format([]byte(f.Source))
	if len(problems) > 0 {
		for i := range problems {
			problems[i].File = f.Name
		}
		return false, errorOf(problems)
	}
	changed := !bytes.Equal(out, []byte(f.Source))
	switch {
	case check:
		if changed {
			c.printf("%s\n", f.Name)
		}
		return !changed, nil
	case path == "-" || !write:
		_, err := c.stdout.Write(out)
		return err == nil, err
	case !changed:
		return true, nil
	}
	if err := replaceFile(path, out); err != nil {
		return false, err
	}
	c.printf("%s\n", f.Name)
	return true, nil
}

// replaceFile writes a new file and renames it, so that a full disk loses nothing.
func replaceFile(path string, content []byte) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".wadi-fmt-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if err := tmp.Chmod(info.Mode().Perm()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if _, err := io.Copy(tmp, bytes.NewReader(content)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
