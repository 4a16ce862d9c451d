package backlog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/backlog"
)

func TestSet(t *testing.T) {
	s := backlog.New()
	select {
	case <-s.Changed():
		t.Fatal("an empty set has changed")
	default:
	}
	for _, id := range []string{"b", "a", "b"} {
		s.Add(id)
	}
	<-s.Changed()
	if got, want := s.Take(), []string{"a", "b"}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := s.Take(); len(got) != 0 {
		t.Errorf("got %v, want none left", got)
	}
	select {
	case <-s.Changed():
		t.Error("three additions are signalled twice")
	default:
	}
	s.Add("c")
	<-s.Changed()
}
