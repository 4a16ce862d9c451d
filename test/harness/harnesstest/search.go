package harnesstest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"
)

// WantNone fails the test if a text has a secret, by name.
func WantNone(t testing.TB, where, text string, secrets map[string]string) {
	t.Helper()
	for what, secret := range secrets {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%s is in %s: %.200s", what, where, text[max(0, i-100):])
		}
	}
}

// LookEverywhere fails the test if a secret is in a log, in Consul, in Nomad or in a metric.
func (s *Stack) LookEverywhere(t testing.TB, secrets map[string]string) {
	t.Helper()
	logs := 0
	for _, dir := range []string{s.Dir, s.Cluster.Dir} {
		files, err := filepath.Glob(filepath.Join(dir, "*.log"))
		Must(t, "find logs", err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			Must(t, "read a log", err)
			WantNone(t, file, string(text), secrets)
			logs++
		}
	}
	if logs < 3 { // Of an agent, Nomad and Consul.
		t.Errorf("%d logs were found", logs)
	}
	s.lookInConsul(t, secrets)
	s.lookInNomad(t, secrets)
	res, err := http.Get("http://" + s.Agent.Metrics + "/metrics")
	Must(t, "read metrics", err)
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	Must(t, "read metrics", err)
	WantNone(t, "the metrics", string(text), secrets)
}

func (s *Stack) lookInConsul(t testing.TB, secrets map[string]string) {
	t.Helper()
	pairs, _, err := s.Consul.KV().List("", nil)
	Must(t, "list keys", err)
	if len(pairs) == 0 {
		t.Error("there are no keys to look at")
	}
	for _, p := range pairs {
		WantNone(t, "the key "+p.Key, unpacked(p.Value), secrets)
	}
	for _, kind := range []string{consul.ServiceDefaults, consul.ServiceResolver, consul.ServiceSplitter, consul.ServiceRouter, consul.ServiceIntentions} {
		entries, _, err := s.Consul.ConfigEntries().List(kind, nil)
		Must(t, "list entries", err)
		WantNone(t, kind, encoded(t, entries), secrets)
	}
	nodes, _, err := s.Consul.Catalog().Nodes(nil)
	Must(t, "list nodes", err)
	for _, n := range nodes {
		services, _, err := s.Consul.Catalog().Node(n.Node, nil)
		Must(t, "read the catalog", err)
		WantNone(t, "the catalog", encoded(t, services), secrets)
	}
}

func (s *Stack) lookInNomad(t testing.TB, secrets map[string]string) {
	t.Helper()
	everywhere := &nomad.QueryOptions{Namespace: nomad.AllNamespacesNamespace}
	jobs, _, err := s.Nomad.Jobs().List(everywhere)
	Must(t, "list jobs", err)
	for _, j := range jobs {
		q := &nomad.QueryOptions{Namespace: j.Namespace}
		versions, _, _, err := s.Nomad.Jobs().Versions(j.ID, false, q)
		Must(t, "read the job "+j.ID, err)
		WantNone(t, "the job "+j.ID, encoded(t, versions), secrets)
		// A job may have been registered with its source.
		if sub, _, err := s.Nomad.Jobs().Submission(j.ID, int(*versions[0].Version), q); err == nil {
			WantNone(t, "the submission of "+j.ID, encoded(t, sub), secrets)
		}
	}
	allocs, _, err := s.Nomad.Allocations().List(everywhere)
	Must(t, "list allocations", err)
	WantNone(t, "the allocations", encoded(t, allocs), secrets)
	for _, a := range allocs {
		// It may be collected meanwhile.
		if whole, _, err := s.Nomad.Allocations().Info(a.ID, &nomad.QueryOptions{Namespace: a.Namespace}); err == nil {
			WantNone(t, "the allocation "+a.ID, encoded(t, whole), secrets)
		}
	}
	evals, _, err := s.Nomad.Evaluations().List(everywhere)
	Must(t, "list evaluations", err)
	WantNone(t, "the evaluations", encoded(t, evals), secrets)
	WantNone(t, "Nomad's events", s.nomadEvents(t), secrets)
}

// nomadEvents are the events that Nomad still has, as far as it sends them at once.
func (s *Stack) nomadEvents(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	stream, err := s.Nomad.EventStream().Stream(ctx, map[nomad.Topic][]string{nomad.TopicAll: {"*"}}, 1, &nomad.QueryOptions{Namespace: nomad.AllNamespacesNamespace})
	Must(t, "read Nomad's events", err)
	var all strings.Builder
	for events := range stream {
		all.WriteString(encoded(t, events.Events))
	}
	return all.String()
}

// unpacked is a stored value as text.
func unpacked(b []byte) string {
	if r, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
		if text, err := io.ReadAll(r); err == nil {
			return string(text)
		}
	}
	return string(b)
}

func encoded(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	Must(t, "encode", err)
	return string(b)
}
