// Package assets keeps the programs that Nomad's clients fetch from agents, by their checksums,
// and serves them.
//
// It promises that a file is served under its own checksum or not at all, also when a disk or
// a person has changed it, and that what a stored revision names is never removed. It decides
// by itself neither which revisions there are nor who the other agents are, and it runs
// nothing that it was given over the network.
package assets

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Program is the only program that is served so far.
const Program = "queue-proxy"

// MaxSize bounds a program, in bytes.
const MaxSize = 256 << 20

// forgetAfter is how long a copy is kept that no stored revision names: one may be stored this
// moment, and a Consul that is restored to an earlier state has others.
const forgetAfter = 24 * time.Hour

// Asset is a program for one platform.
type Asset struct {
	OS      string `json:"os"`
	Arch    string `json:"arch"` // As Nomad's attr.cpu.arch.
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`              // Bytes.
	Current bool   `json:"current"`           // New revisions name it.
	Version string `json:"version,omitempty"` // Of Wadi; empty: not known, as of copies and of programs for other machines.
}

// Options of a Store.
type Options struct {
	// Dir is the folder of the copies. It is made if it is not there.
	Dir string
	// Programs are where the programs of this release are: files, or folders of files whose
	// names begin with queue-proxy. What is not there is left out.
	Programs []string
	// Version says of which version a program is, if it runs on this machine. Nil: unknown.
	Version func(file string) string

	Log hclog.Logger
}

// Store has the programs. It is safe for concurrent use.
type Store struct {
	o Options

	mu       sync.Mutex
	current  map[string]Asset // By architecture.
	seen     map[string]mark  // Of the programs of this release, by file.
	of       map[string]Asset // What they are, by file.
	verified map[string]mark  // Copies whose content was found to be right, by checksum.
	hashing  map[string]*sync.Mutex
}

// mark changes whenever a file is written anew.
type mark struct {
	size  int64
	mtime time.Time
	inode uint64
}

// Open makes the folder, and takes in the programs of this release.
func Open(o Options) (*Store, error) {
	s := &Store{o: o, current: map[string]Asset{}, seen: map[string]mark{}, of: map[string]Asset{}, verified: map[string]mark{}, hashing: map[string]*sync.Mutex{}}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the programs: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(o.Dir, ".new-*"))
	if err != nil {
		return nil, err
	}
	for _, f := range old { // Of an agent that was killed.
		_ = os.Remove(f)
	}
	return s, s.Refresh()
}

// Current are the programs of this release, by architecture.
func (s *Store) Current() map[string]Asset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.current)
}

// Refresh takes in the programs of this release again, if they have changed. Nomad's clients
// get copies: a program that is replaced is still there for revisions that name it.
func (s *Store) Refresh() error {
	var errs []error
	current := map[string]Asset{}
	for _, file := range s.candidates() {
		a, err := s.takeIn(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, fmt.Errorf("take in %s: %w", file, err))
			a, ok := s.before(file) // It may be written this moment.
			if ok && current[a.Arch].SHA256 == "" {
				current[a.Arch] = a
			}
		case current[a.Arch].SHA256 == "":
			current[a.Arch] = a
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = current
	return errors.Join(errs...)
}

// candidates are the files that may be programs of this release, the first of a platform
// first.
func (s *Store) candidates() (out []string) {
	for _, path := range s.o.Programs {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if !info.IsDir() {
			out = append(out, path)
			continue
		}
		all, err := filepath.Glob(filepath.Join(path, Program+"*"))
		if err == nil {
			out = append(out, all...)
		}
	}
	return out
}

// Sum reports whether a text is a checksum as files are named by.
func Sum(s string) bool { return sumRule.MatchString(s) }

var sumRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ErrChecksum is that of content that is not what its checksum says.
var ErrChecksum = errors.New("its content is not what its checksum says")

// Add keeps a program that another agent had. It fails with [ErrChecksum] if it is another.
func (s *Store) Add(sum string, r io.Reader) error {
	if !Sum(sum) {
		return fmt.Errorf("%.80q is no checksum", sum)
	}
	_, _, err := s.copy(sum, r)
	return err
}

// copy writes a program under its checksum, which must be want unless that is empty.
func (s *Store) copy(want string, r io.Reader) (sum string, size int64, err error) {
	tmp, err := os.CreateTemp(s.o.Dir, ".new-*")
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // It is gone if all went well.
	hash := sha256.New()
	size, err = io.Copy(io.MultiWriter(tmp, hash), io.LimitReader(r, MaxSize+1))
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	sum = hex.EncodeToString(hash.Sum(nil))
	switch {
	case err != nil:
		return "", 0, err
	case size > MaxSize:
		return "", 0, fmt.Errorf("it has more than %d MiB", MaxSize>>20)
	case want != "" && want != sum:
		return "", 0, ErrChecksum
	}
	return sum, size, os.Rename(tmp.Name(), s.path(sum))
}

func (s *Store) path(sum string) string { return filepath.Join(s.o.Dir, sum) }

// Has reports whether a program is there.
func (s *Store) Has(sum string) bool {
	if !Sum(sum) {
		return false
	}
	info, err := os.Stat(s.path(sum))
	return err == nil && info.Mode().IsRegular()
}

// Open opens a program after its content was checked: once, until the file changes. A file
// that is not what it should be is removed, so that another agent's takes its place.
func (s *Store) Open(sum string) (*os.File, error) {
	if !Sum(sum) {
		return nil, fs.ErrNotExist
	}
	// One after the other: a start of many instances hashes a file once.
	turn := s.turn(sum)
	turn.Lock()
	defer turn.Unlock()
	f, err := openFile(s.path(sum))
	if err != nil {
		return nil, err
	}
	if err := s.check(sum, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// openFile opens a file without waiting: a pipe would wait for a writer for ever.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

func (s *Store) turn(sum string) *sync.Mutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hashing[sum] == nil {
		if len(s.hashing) > 1000 { // Only after very many files were there; one more hashing is all that is lost.
			clear(s.hashing)
		}
		s.hashing[sum] = &sync.Mutex{}
	}
	return s.hashing[sum]
}

// check checks an open file's content.
func (s *Store) check(sum string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxSize {
		return fs.ErrNotExist
	}
	now := markOf(info)
	s.mu.Lock()
	good := s.verified[sum] == now
	s.mu.Unlock()
	if good {
		return nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(f, MaxSize+1)); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != sum {
		s.o.Log.Error("a program was changed where it is kept, and is removed", "file", f.Name())
		return errors.Join(ErrChecksum, os.Remove(f.Name()))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.verified) > 1000 {
		clear(s.verified)
	}
	s.verified[sum] = now
	return nil
}

// List are the programs that are there: those of this release first.
func (s *Store) List() ([]Asset, error) {
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return nil, fmt.Errorf("list the programs: %w", err)
	}
	own := map[string]Asset{}
	for _, a := range s.Current() {
		own[a.SHA256] = a
	}
	out := slices.Collect(maps.Values(own))
	for _, e := range entries {
		if _, listed := own[e.Name()]; listed || !Sum(e.Name()) {
			continue
		}
		a, err := platformOf(s.path(e.Name()))
		info, err2 := e.Info()
		if err != nil || err2 != nil {
			continue
		}
		a.SHA256, a.Size = e.Name(), info.Size()
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Asset) int {
		if a.Current != b.Current {
			return map[bool]int{true: -1, false: 1}[a.Current]
		}
		return cmp.Or(strings.Compare(a.Arch, b.Arch), strings.Compare(a.SHA256, b.SHA256))
	})
	return out, nil
}
