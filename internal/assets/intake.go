package assets

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// errWritten is that of a file that is being replaced.
var errWritten = errors.New("it is being written")

// takeIn copies a program under its checksum, unless it is there already: a full disk does
// not keep an agent from its own program.
func (s *Store) takeIn(file string) (Asset, error) {
	info, err := os.Stat(file)
	if err != nil {
		return Asset{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxSize {
		return Asset{}, fmt.Errorf("it is no file of %d MiB at most", MaxSize>>20)
	}
	now := markOf(info)
	s.mu.Lock()
	known, same := s.of[file], s.seen[file] == now
	s.mu.Unlock()
	if same && s.Has(known.SHA256) {
		return known, nil
	}
	in, err := os.Open(file)
	if err != nil {
		return Asset{}, err
	}
	defer func() { _ = in.Close() }()
	a, err := s.examine(in, now)
	if err != nil {
		return Asset{}, err
	}
	if err := s.keepOwn(a.SHA256, in); err != nil {
		return Asset{}, err
	}
	a.Current = true
	if s.o.Version != nil {
		a.Version = s.o.Version(file)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[file], s.of[file] = now, a
	return a, nil
}

// examine reads what a program is, and makes sure that it is whole.
func (s *Store) examine(in *os.File, before mark) (Asset, error) {
	a, err := platform(in, before.size)
	if err != nil {
		return Asset{}, err
	}
	hash := sha256.New()
	if a.Size, err = io.Copy(hash, io.LimitReader(in, MaxSize+1)); err != nil {
		return Asset{}, err
	}
	a.SHA256 = hex.EncodeToString(hash.Sum(nil))
	after, err := in.Stat()
	if err == nil && (markOf(after) != before || a.Size != before.size) {
		err = errWritten
	}
	return a, err
}

// keepOwn copies a program of this release, unless a good copy is there.
func (s *Store) keepOwn(sum string, in *os.File) error {
	if f, err := s.Open(sum); err == nil {
		_ = s.used(sum, time.Now()) // A revision that is made now may name it.
		return f.Close()
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, _, err := s.copy(sum, in)
	if errors.Is(err, ErrChecksum) { // It has changed since it was examined.
		return errWritten
	}
	return err
}

// before is what a file was when it was last taken in, if that is still here.
func (s *Store) before(file string) (Asset, bool) {
	s.mu.Lock()
	a := s.of[file]
	s.mu.Unlock()
	return a, s.Has(a.SHA256)
}

// architectures are Nomad's names of the architectures that Linux and Wadi have.
var architectures = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}

// platformOf is [platform] of the file with a path.
func platformOf(path string) (Asset, error) {
	f, err := openFile(path)
	if err != nil {
		return Asset{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return Asset{}, err
	}
	if !info.Mode().IsRegular() {
		return Asset{}, fs.ErrNotExist
	}
	return platform(f, info.Size())
}

// platform reads for which platform a program is. A file that ends before what its head
// announces is none: it is half written.
func platform(r io.ReaderAt, size int64) (Asset, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return Asset{}, fmt.Errorf("it is no program of Linux: %w", err)
	}
	arch, ok := architectures[f.Machine]
	if !ok || f.Class != elf.ELFCLASS64 {
		return Asset{}, fmt.Errorf("it is for %s, which is not served", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Off+p.Filesz > uint64(size) || p.Off+p.Filesz < p.Off {
			return Asset{}, errWritten
		}
	}
	for _, p := range f.Sections {
		if p.Type != elf.SHT_NOBITS && (p.Offset+p.FileSize > uint64(size) || p.Offset+p.FileSize < p.Offset) {
			return Asset{}, errWritten
		}
	}
	return Asset{OS: "linux", Arch: arch}, nil
}
