// Package certfile reads files of certificates and keys, which an operator may replace, or
// get wrong, at any time.
//
// It promises that reading ends, takes bounded memory, and that its errors begin with the
// path. It refuses to judge what is in a file.
package certfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	maxSize       = 1 << 20 // Bytes of one file.
	worldReadable = 0o004   // A bit of a file's mode.
)

// Read reads a regular file of at most 1 MiB.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() { // Opening a pipe would wait for ever.
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, PathFirst(path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, PathFirst(path, err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(b) > maxSize {
		err = errors.New("larger than 1 MiB")
	}
	if err != nil {
		return nil, PathFirst(path, err)
	}
	return b, nil
}

// PathFirst words an error about a file so that it begins with its path, and says it once.
func PathFirst(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// IsExposed reports whether every user of the machine may read a file.
func IsExposed(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&worldReadable != 0
}
