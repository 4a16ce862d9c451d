package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// writer writes files, which are sorted, as an archive.
type writer func(w io.Writer, files []file, modified time.Time) error

// whole writes an archive under another name first: one that is there is complete.
func whole(path string, files []file, modified time.Time, write writer) error {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	tmp, err := os.CreateTemp(filepath.Dir(path), ".dist-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // It is gone if all went well.
	err = errors.Join(write(tmp, files, modified), tmp.Chmod(0o644), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func writeTarGz(w io.Writer, files []file, modified time.Time) error {
	gz, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(gz)
	for _, f := range files {
		b, err := os.ReadFile(f.source)
		if err != nil {
			return err
		}
		err = t.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(b)), Mode: int64(f.mode.Perm()), ModTime: modified, Format: tar.FormatUSTAR,
		})
		if err != nil {
			return err
		}
		if _, err := t.Write(b); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), gz.Close())
}

func writeZip(w io.Writer, files []file, modified time.Time) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		b, err := os.ReadFile(f.source)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: modified}
		h.SetMode(f.mode)
		part, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := part.Write(b); err != nil {
			return err
		}
	}
	return z.Close()
}

// writeSums writes the checksums of files as sha256sum does, so that it can check them.
func writeSums(dir, name string, files []string) error {
	var b strings.Builder
	for _, f := range slices.Sorted(slices.Values(files)) {
		content, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), f)
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o644)
}
