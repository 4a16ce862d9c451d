package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/setup"
	"github.com/wadi-run/wadi/jobspecs"
)

// checkFolder refuses a folder in which one of the files is already, before anything is
// asked.
func checkFolder(dir string, force bool) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder; name one with -dir", dir)
	}
	var there []string
	for _, name := range []string{setup.ConfigFile, setup.NomadPolicyFile, setup.ConsulPolicyFile, setup.NodesJobFile, setup.AgentsJobFile} {
		info, err := os.Lstat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case force && err == nil && info.IsDir():
			return fmt.Errorf("%s is a folder; -dir names another one for the files", filepath.Join(dir, name))
		case !force:
			there = append(there, name)
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("%s has %s already; -force replaces what is there, -dir names another folder", dir, strings.Join(there, ", "))
	}
	return nil
}

// writeFiles writes all files, or none: they are made in a folder of their own and checked
// before they get their names.
func writeFiles(dir string, files []setup.File, force bool) (err error) {
	_, missing := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil && missing != nil {
			_ = os.Remove(dir) // It stays if something is in it.
		}
	}()
	made, err := os.MkdirTemp(dir, ".init-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(made)) }()
	for _, f := range files {
		mode := fs.FileMode(0o644)
		if f.Name == setup.ConfigFile {
			mode = 0o600 // A token may be put into it.
		}
		if err := os.WriteFile(filepath.Join(made, f.Name), []byte(f.Text), mode); err != nil {
			return err
		}
	}
	if err := checkConfig(filepath.Join(made, setup.ConfigFile)); err != nil {
		return err
	}
	if err := checkFolder(dir, force); err != nil { // A person may have thought for long.
		return err
	}
	for _, f := range files {
		if err := os.Rename(filepath.Join(made, f.Name), filepath.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	return nil
}

// checkConfig reads a configuration as an agent would.
func checkConfig(file string) error {
	_, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{})
	if !jobspecs.HasErrors(problems) {
		return nil
	}
	var all []string
	for _, p := range problems {
		p.File = filepath.Base(p.File)
		if !p.Warning {
			all = append(all, p.String())
		}
	}
	return usagef("an agent would refuse these choices: %s", strings.Join(all, "; "))
}
