package assets

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"time"
)

// Keep removes copies that neither this release nor any stored revision has named for a day.
// named are the checksums that stored revisions name: all of them, never what could be read.
// confirm reads from the revisions themselves what they name, and is asked before anything is
// removed: an agent of a release before, which leads while agents are upgraded, does not keep
// the names in the index. Nil: named is enough.
func (s *Store) Keep(named map[string]bool, confirm func() (map[string]bool, error), now time.Time) error {
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return fmt.Errorf("list the programs: %w", err)
	}
	wanted := maps.Clone(named)
	if wanted == nil {
		wanted = map[string]bool{}
	}
	for _, a := range s.Current() {
		wanted[a.SHA256] = true
	}
	var errs []error
	var gone []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !Sum(e.Name()) {
			continue // Not there any more, or not ours.
		}
		age := now.Sub(info.ModTime())
		switch {
		case wanted[e.Name()] && age > forgetAfter/4:
			errs = append(errs, s.used(e.Name(), now))
		case !wanted[e.Name()] && age > forgetAfter:
			gone = append(gone, e.Name())
		}
	}
	return errors.Join(append(errs, s.remove(gone, confirm, now))...)
}

// used sets the time of a copy's last use. It makes the next reader check the content again, so
// that a rotten disk is noticed.
func (s *Store) used(sum string, now time.Time) error { return os.Chtimes(s.path(sum), now, now) }

// remove removes copies that no revision names indeed.
func (s *Store) remove(gone []string, confirm func() (map[string]bool, error), now time.Time) error {
	if len(gone) == 0 {
		return nil
	}
	named := map[string]bool{}
	if confirm != nil {
		var err error
		if named, err = confirm(); err != nil {
			return fmt.Errorf("read what revisions name before programs are removed: %w", err)
		}
	}
	var errs []error
	for _, sum := range gone {
		if named[sum] {
			errs = append(errs, s.used(sum, now))
			continue
		}
		if err := os.Remove(s.path(sum)); err != nil {
			errs = append(errs, err)
			continue
		}
		s.o.Log.Info("removed a program that no revision names any more", "file", s.path(sum))
	}
	return errors.Join(errs...)
}
