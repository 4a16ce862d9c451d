package lazy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/wadi-run/wadi/proxy/lazy"
)

func TestContext_EndsWithItsParent(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	c := lazy.New(parent)
	child, stop := context.WithCancel(c)
	defer stop()
	cancel()
	<-c.Done()
	<-child.Done()
	if c.Err() != context.Canceled || c.Cause() != nil {
		t.Errorf("got %v, %v, want canceled and no cause", c.Err(), c.Cause())
	}
	unheard := lazy.New(parent)
	if unheard.Err() != context.Canceled {
		t.Errorf("got %v, want canceled: nothing listens to the parent", unheard.Err())
	}
}

func TestContext_End(t *testing.T) {
	why := errors.New("why")
	c := lazy.New(t.Context())
	child, stop := context.WithCancel(c)
	defer stop()
	c.End(context.DeadlineExceeded, why)
	c.End(context.Canceled, errors.New("later"))
	<-child.Done()
	<-c.Done()
	if c.Err() != context.DeadlineExceeded || c.Cause() != why || !c.Ended() {
		t.Errorf("got %v, %v, want the first end", c.Err(), c.Cause())
	}
}
