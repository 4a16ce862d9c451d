//go:build e2e

package mesh_test

import (
	"fmt"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// A user edits entries of Wadi, without removing its mark, or deletes them. Each is
// restored long before the next full check, which is twice a minute, and an event says so.
// Without the watch, edits that follow one that was put back take the whole half minute each: so
// one of them that takes less than half of it shows the watch, on a busy machine too.
func TestEdited_IsPutBackAtOnce(t *testing.T) {
	t.Parallel()
	names := []string{"edited-1", "edited-2", "edited-3"}
	hcl := ""
	for _, name := range names {
		hcl += hello(name, options{})
	}
	deploy(t, hcl)
	entries := stack.Consul.ConfigEntries()
	get := func(kind, name string) consul.ConfigEntry {
		e, _, err := entries.Get(kind, name, nil)
		must(t, "read entry", err)
		return e
	}
	fastest := time.Hour
	for i, edit := range []func(name string) error{
		func(name string) error {
			e := get(consul.ServiceSplitter, name).(*consul.ServiceSplitterConfigEntry)
			e.Splits[0].RequestHeaders = nil
			_, _, err := entries.Set(e, nil)
			return err
		},
		func(name string) error {
			_, err := entries.Delete(consul.ServiceRouter, name, nil)
			return err
		},
		func(name string) error {
			e := get(consul.ServiceResolver, name).(*consul.ServiceResolverConfigEntry)
			e.Failover = nil
			_, _, err := entries.Set(e, nil)
			return err
		},
	} {
		name := names[i]
		must(t, "edit", edit(name))
		edited := time.Now()
		eventually(t, waitLong, func() error {
			s, err := stack.Agent.Client.Service(t.Context(), name)
			if err != nil {
				return err
			}
			for _, e := range s.Status.Events {
				if e.Type == "DriftCorrected" {
					return nil
				}
			}
			return fmt.Errorf("no event says that it was put back: %+v", s.Status.Events)
		})
		took := time.Since(edited)
		t.Logf("edit %d was put back, and told, within %v", i, took.Round(time.Millisecond))
		if i > 0 {
			fastest = min(fastest, took)
		}
		wantProgrammed(t, name)
		switch e := get(consul.ServiceResolver, name).(*consul.ServiceResolverConfigEntry); {
		case len(e.Failover) == 0:
			t.Errorf("edit %d: there is no failover", i)
		case get(consul.ServiceSplitter, name).(*consul.ServiceSplitterConfigEntry).Splits[0].RequestHeaders == nil:
			t.Errorf("edit %d: the splitter names nobody", i)
		case get(consul.ServiceRouter, name) == nil:
			t.Errorf("edit %d: there is no router", i)
		}
	}
	if fastest > 15*time.Second {
		t.Errorf("the fastest of the later edits was put back after %v, want at once", fastest)
	}
}
