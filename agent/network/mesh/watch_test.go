package mesh_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// watched emits what a test sends of a kind.
type watched map[string]chan []api.ConfigEntry

func (w watched) WatchEntries(ctx context.Context, kind string, emit func([]api.ConfigEntry), _ func(error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case es := <-w[kind]:
			emit(es)
		}
	}
}

func TestWatcher_TellsWhoseEntriesChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := watched{}
		for _, kind := range []string{api.ServiceIntentions, api.ServiceDefaults, api.ServiceResolver, api.ServiceSplitter, api.ServiceRouter} {
			src[kind] = make(chan []api.ConfigEntry)
		}
		w := &mesh.Watcher{Source: src, Log: hclog.NewNullLogger()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		entry := func(name, service string, index uint64) api.ConfigEntry {
			e := &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: name, ModifyIndex: index}
			if service != "" {
				e.Meta = map[string]string{"managed-by": "wadi", "wadi-service": service}
			}
			return e
		}
		hello, tag, other := entry("hello", "hello", 1), entry("canary-hello", "hello", 2), entry("other", "other", 3)
		activator := entry(wadi.ServiceActivator, wadi.ServiceActivator, 4)
		for _, tt := range []struct {
			what    string
			entries []api.ConfigEntry
			want    string
		}{
			{"the first", []api.ConfigEntry{hello, tag, other, activator}, "all"},
			{"the same", []api.ConfigEntry{hello, tag, other, activator}, ""},
			{"a new one", []api.ConfigEntry{hello, tag, other, activator, entry("b", "b", 5)}, "b"},
			{"one of a tag is edited, another goes", []api.ConfigEntry{hello, entry("canary-hello", "hello", 6), other, activator}, "b canary-hello hello"},
			{"somebody takes the name", []api.ConfigEntry{entry("hello", "", 7), entry("canary-hello", "hello", 6), other, activator}, "hello"},
			{"the activator's", []api.ConfigEntry{entry("hello", "", 7), entry("canary-hello", "hello", 6), other, entry(wadi.ServiceActivator, wadi.ServiceActivator, 8)}, "all"},
		} {
			src[api.ServiceDefaults] <- tt.entries
			time.Sleep(time.Second)
			synctest.Wait()
			news := false
			select {
			case <-w.News():
				news = true
			default:
			}
			services, all := w.Take()
			got := strings.Join(services, " ")
			if all {
				got = "all"
			}
			if got != tt.want || news != (tt.want != "") {
				t.Errorf("%s: got %q (news: %t), want %q", tt.what, got, news, tt.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
