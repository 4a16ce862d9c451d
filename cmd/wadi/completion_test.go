package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

// completed are the answers to a shell that completes a line.
func completed(t *testing.T, line string, env ...string) []string {
	t.Helper()
	t.Setenv("COMP_LINE", line)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w // The library writes there.
	defer func() { os.Stdout = stdout }()
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		read <- string(b)
	}()
	code := run(t.Context(), nil, strings.NewReader(""), io.Discard, io.Discard, env)
	_ = w.Close()
	if out := strings.Fields(<-read); code == 0 {
		slices.Sort(out)
		return out
	}
	t.Fatalf("exit code %d", code)
	return nil
}

func TestCompletion(t *testing.T) {
	b := applied(t)
	if o := b.wadi(t, "apply", "-detach", file(t, strings.ReplaceAll(hello, "hello", "help"))); o.code != 0 {
		t.Fatalf("apply: %+v", o)
	}
	for line, want := range map[string]string{
		"wadi exp":                          "explain",
		"wadi service st":                   "status",
		"wadi service status ":              "hello help",
		"wadi service status hell":          "hello",
		"wadi service status -json h":       "hello help",
		"wadi revision list ":               "hello help",
		"wadi revision inspect ":            "hello-00001 help-00001",
		"wadi revision inspect hello-0":     "hello-00001",
		"wadi revision inspect help":        "help-00001",
		"wadi revision inspect other-":      "",
		"wadi events -ser":                  "-service",
		"wadi events -service he":           "hello help",
		"wadi version hel":                  "",
		"wadi service status -h":            "-h",
		"wadi apply testdata/no-such-file.": "",
	} {
		if got := strings.Join(completed(t, line, "WADI_ADDR="+b.URL), " "); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	// The line names the agent, too.
	if got := completed(t, "wadi service status -address "+b.URL+" hell", "WADI_ADDR=http://127.0.0.1:1"); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("with -address: %v", got)
	}
}

// A shell that waits gets nothing from an agent that refuses, is away or says nothing.
func TestCompletion_NoAgent(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.CloseClientConnections)
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"no"}`, http.StatusForbidden)
	}))
	t.Cleanup(refuses.Close)
	for name, addr := range map[string]string{"away": "http://127.0.0.1:1", "silent": silent.URL, "refuses": refuses.URL, "nonsense": "::"} {
		for _, line := range []string{"wadi service status ", "wadi revision job hello-"} {
			if got := completed(t, line, "WADI_ADDR="+addr); len(got) > 0 {
				t.Errorf("%s: %s: %v", name, line, got)
			}
		}
	}
}

// What a shell would read as more than a word is never put into a command line.
func TestCompletion_HostileAgent(t *testing.T) {
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/revisions") {
			_, _ = io.WriteString(w, `[{"id":"hello-00001"},{"id":"hello-;reboot"},{"id":"hello-$(id)"},{"id":"-rf"}]`)
			return
		}
		_, _ = io.WriteString(w, `[{"name":"hello"},{"name":"he;reboot"},{"name":"he$(id)"},{"name":"he\nllo2"},{"name":"-h"},{"name":""}]`)
	}))
	t.Cleanup(hostile.Close)
	for line, want := range map[string]string{"wadi service status ": "hello", "wadi revision inspect hello-": "hello-00001"} {
		if got := strings.Join(completed(t, line, "WADI_ADDR="+hostile.URL), " "); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// Every flag of every command is completed.
func TestCompletion_Flags(t *testing.T) {
	for name, c := range commands() {
		got := completed(t, "wadi "+name+" -")
		for f := range (completion{command: c}).AutocompleteFlags() {
			if !slices.Contains(got, f) {
				t.Errorf("%s: no %s in %v", name, f, got)
			}
		}
		if len(got) == 0 {
			t.Errorf("%s: no flags", name)
		}
	}
}
