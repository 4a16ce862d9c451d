package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
)

// A registry that does not answer keeps no other submission from being evaluated, and a
// submission whose caller gives up stores nothing.
func TestSubmit_ASlowRegistryHoldsNoEvaluation(t *testing.T) {
	registries := &admissiontest.Registries{}
	b := newBench(t, nil)
	nomad := b.nomad
	nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	store := b.store
	b = newBench(t, func(c *server.Config) {
		adm, err := admissiontest.WithRegistries(nomad, store, nil, registries)
		if err != nil {
			t.Fatal(err)
		}
		c.Admission, c.Rights, c.Store = adm, nomad, store
	})
	began := registries.Hang()
	docker := strings.NewReplacer("raw_exec", "docker", `command = "/bin/a"`, `image = "reg.example/a:1"`).Replace(hello)
	const waiting = 12 // More than are evaluated at once.
	ended := make(chan error, waiting)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	for i := range waiting {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, b.URL+"/v1/services",
			strings.NewReader(submission(strings.ReplaceAll(docker, "hello", fmt.Sprintf("slow%d", i)))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Nomad-Token", "alice")
		go func() {
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			ended <- err
		}()
	}
	for range waiting {
		<-began
	}
	submitSoon(t, b, "alice", hello)
	giveUp()
	for range waiting {
		if err := <-ended; err == nil {
			t.Error("a submission was answered though its caller gave up")
		}
	}
	submitSoon(t, b, "alice", strings.ReplaceAll(hello, "hello", "after")) // Every evaluation was given back.
	names, err := store.Services(t.Context())
	if err != nil || len(names) != 2 {
		t.Errorf("stored: %v, %v", names, err)
	}
}
