package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Every command that asks an agent, or Nomad, says after two seconds that it still waits, on
// standard error, and nothing on standard output.
func TestSlowAnswer_EveryCommandSaysSo(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	away := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer away.Close()
	defer close(hang)
	spec := file(t, hello)
	more := map[string][]string{ // Flags and arguments that a command needs.
		"apply": {spec}, "plan": {spec}, "validate": {spec}, "service scale": {"-for", "10m", "hello", "1"},
		"convert": {"-job", "hello", "-nomad-address", away.URL}, "init": {"-yes", "-dir", t.TempDir(), "-nomad-address", away.URL, "-consul-address", away.URL},
		"service logs": {"-nomad-address", away.URL, "hello"},
	}
	said := regexp.MustCompile(`(?m)^(No answer from|The checks are not done|Nomad and Consul have not answered).* after 2s.* Still waiting\.$`)
	var wg sync.WaitGroup
	asked := 0
	for name, cmd := range commands() {
		args, listed := more[name]
		if !cmd.remote && !listed {
			continue
		}
		for n := 0; !listed && n < cmd.min; n++ {
			args = append(args, "hello-00001")
		}
		asked++
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out := newWatched(said, cancel)
			var stdout strings.Builder
			run(ctx, append(strings.Fields(name), args...), strings.NewReader(""), &stdout, out, []string{"WADI_ADDR=" + away.URL, "NOMAD_ADDR=" + away.URL})
			if got := out.String(); !said.MatchString(got) || stdout.Len() > 0 {
				t.Errorf("wadi %s: standard error %q, standard output %q", name, got, stdout.String())
			}
		})
	}
	wg.Wait()
	if asked < 15 {
		t.Errorf("%d commands ask", asked)
	}
}

// watched is what a command writes. It calls then once a text is in it.
type watched struct {
	text *regexp.Regexp
	then func()

	mu  sync.Mutex
	all strings.Builder
}

func newWatched(text *regexp.Regexp, then func()) *watched { return &watched{text: text, then: then} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.all.Write(p)
	if w.text.MatchString(w.all.String()) {
		w.then()
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}
