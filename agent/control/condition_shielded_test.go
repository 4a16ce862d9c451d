package control_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A condition names an app that can be reached past its queue-proxy, at zero too, and one
// event does.
func TestController_ReportsExposedApps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var at atomic.Pointer[string] // Nil: not reported.
		c.wide = func(string) (string, bool) {
			if p := at.Load(); p != nil {
				return *p, true
			}
			return "", false
		}
		l, stop := lead(t, c)
		defer stop()
		c.submit("hello")
		check := func(when string, told bool, events int) {
			t.Helper()
			time.Sleep(35 * time.Second) // Longer than between two rechecks.
			synctest.Wait()
			got := ""
			for _, cond := range c.service("hello").Status.Conditions {
				if cond.Type == "Shielded" {
					got = cond.Message
				}
			}
			if told != strings.Contains(got, "hello-00001: the app listens on *:8080") || !told && got != "" {
				t.Errorf("%s: condition %q, want it: %t", when, got, told)
			}
			n := 0
			all, _, _ := l.Events.Since(0)
			for _, e := range all {
				if e.Type == "ListensWide" {
					n++
				}
			}
			if n != events {
				t.Errorf("%s: %d events, want %d", when, n, events)
			}
		}
		wide, narrow := "*:8080", ""
		check("before anybody knows", false, 0)
		at.Store(&narrow)
		check("on loopback", false, 0)
		at.Store(&wide)
		check("on all", true, 1)
		at.Store(nil)
		check("at zero", true, 1)
		at.Store(&narrow)
		check("mended", false, 1)
		at.Store(&wide)
		check("again", true, 1)
	})
}

// A condition names instances that could not be shielded, whether their app can be reached
// or not. Each of the two is one event.
func TestController_ReportsUnshieldedInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var at, why atomic.Pointer[string] // Nil: not reported.
		of := func(p *atomic.Pointer[string]) func(string) (string, bool) {
			return func(string) (string, bool) {
				if s := p.Load(); s != nil {
					return *s, true
				}
				return "", false
			}
		}
		c.wide, c.unshielded = of(&at), of(&why)
		l, stop := lead(t, c)
		defer stop()
		c.submit("hello")
		check := func(when, reason, message string, events ...string) {
			t.Helper()
			time.Sleep(35 * time.Second) // Longer than between two rechecks.
			synctest.Wait()
			var gotReason, got string
			for _, cond := range c.service("hello").Status.Conditions {
				if cond.Type == "Shielded" {
					gotReason, got = cond.Reason, cond.Message
					if cond.OK {
						t.Errorf("%s: the condition holds", when)
					}
				}
			}
			if gotReason != reason || !strings.HasPrefix(got, message) || message == "" && got != "" {
				t.Errorf("%s: condition %q %q, want %q %q", when, gotReason, got, reason, message)
			}
			var told []string
			all, _, _ := l.Events.Since(0)
			for _, e := range all {
				if e.Type == "ListensWide" || e.Type == "NotShielded" {
					told = append(told, e.Type)
				}
			}
			if !slices.Equal(told, events) {
				t.Errorf("%s: events %v, want %v", when, told, events)
			}
		}
		none, no, wide := "", "there is no nft on the PATH; install nftables", "*:8080"
		check("before anybody knows", "", "")
		at.Store(&none)
		why.Store(&no)
		check("no nft", "NotShielded", "hello-00001: can't be shielded: there is no nft on the PATH; install nftables", "NotShielded")
		at.Store(&wide)
		check("and wide", "ListensWide", "hello-00001: can't be shielded: there is no nft on the PATH; install nftables; the app listens on *:8080",
			"NotShielded", "ListensWide")
		at.Store(&none)
		why.Store(&none)
		check("mended", "", "", "NotShielded", "ListensWide")
		why.Store(&no)
		check("again", "NotShielded", "hello-00001: can't be shielded: ", "NotShielded", "ListensWide")
	})
}
