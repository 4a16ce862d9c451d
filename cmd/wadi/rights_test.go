package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

// A token that may submit and not read: its services stay submitted, and a deleted one
// is not called gone before it is.
func TestRights_SubmitWithoutRead(t *testing.T) {
	b := newBench(t)
	b.nomad.Allow("blind", admissiontest.Grant{Blind: []string{"default"}})
	b.wadi(t, "apply", "-token", "blind", file(t, hello)).want(t, 1, "",
		"It was submitted, but whether it becomes ready can't be seen: it was deleted meanwhile, or this token may not read it.\n"+
			"Error: service hello: not found, or this token may not know of it\n")
	var forgotten time.Time
	time.AfterFunc(time.Second, func() { forgotten = time.Now(); b.store.Forget("hello") })
	b.wadi(t, "service", "delete", "-token", "blind", "hello").want(t, 0, "hello: gone\n", "")
	if forgotten.IsZero() {
		t.Error("it was called gone before it was")
	}
	b.wadi(t, "service", "delete", "-token", "blind", "hello").want(t, 1, "", "Error: service hello: not found, or this token may not know of it\n")
}

func TestRights_UnknownToken(t *testing.T) {
	b := applied(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	for _, args := range [][]string{{"service", "list"}, {"events"}, {"events", "-follow"}, {"service", "status", "hello"}} {
		o := b.wadi(t, insertToken(args)...)
		if o.code != 1 || !strings.Contains(o.stderr, "permission denied: ACL token not found") || strings.Contains(o.stderr, "Set a Nomad token") {
			t.Errorf("%v: got %+v", args, o)
		}
	}
	o := b.wadi(t, "doctor", "-token", "unknown")
	if !strings.Contains(o.stdout, "ACL token not found -> set another Nomad token") {
		t.Errorf("doctor: got %+v", o)
	}
	o = b.wadi(t, "doctor")
	if !strings.Contains(o.stdout, "-> set a Nomad token with -token or NOMAD_TOKEN") {
		t.Errorf("doctor: got %+v", o)
	}
}

// insertToken puts the flag before the arguments.
func insertToken(args []string) []string {
	if last := len(args) - 1; args[last] == "hello" {
		return append(append([]string{}, args[:last]...), "-token", "unknown", "hello")
	}
	return append(append([]string{}, args...), "-token", "unknown")
}

// The doctor does not blame the caller for missing rights of the agent's token.
func TestDoctor_OwnRight(t *testing.T) {
	b := applied(t)
	b.store.Fail(fmt.Errorf("read: %w", wadi.ErrOwnRight))
	o := b.wadi(t, "doctor", "-token", "alice")
	if o.code != 1 || !strings.Contains(o.stdout, "its own token lacks a right") || strings.Contains(o.stdout, "set a") {
		t.Errorf("got %+v", o)
	}
	o = b.wadi(t, "service", "list")
	if o.code != 1 || strings.Contains(o.stderr, "Set a Nomad token") {
		t.Errorf("got %+v", o)
	}
}

// Events that end because a right was lost say so.
func TestEvents_EndWithTheReason(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{}\n" + `{"error":"events: permission denied: ACL token not found","status":403}` + "\n"))
	}))
	defer s.Close()
	(&bench{Server: s}).wadi(t, "events", "-follow").want(t, 1, "", "Error: events: permission denied: ACL token not found\n")
}

// While Nomad hangs, apply says after a moment that it waits, and for what.
func TestApply_SaysThatItWaits(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(slowAnswerAfter + time.Second)
		http.Error(w, `{"error":"unavailable"}`, http.StatusServiceUnavailable)
	}))
	t.Cleanup(s.Close)
	for _, args := range [][]string{{"apply", file(t, hello)}, {"validate", file(t, hello)}, {"service", "list"}, {"service", "scale", "-clear", "hello"}, {"service", "delete", "hello"}} {
		t.Run(args[0]+args[1], func(t *testing.T) {
			t.Parallel()
			(&bench{Server: s}).wadi(t, args...).want(t, 1, "",
				"No answer from the agent yet, after 2s: it may be waiting for Nomad or Consul. Still waiting.\nError: unavailable\n")
		})
	}
}
