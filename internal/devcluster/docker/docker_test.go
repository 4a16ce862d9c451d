package docker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wadi-run/wadi/internal/devcluster/docker"
)

// engine is a fake on a socket of its own.
type engine struct {
	info any // Answer to /info; a string is no JSON.

	mu         sync.Mutex
	containers map[string]string // Allocations, by ID of the container; empty: not Nomad's.
	images     []string
	imports    bool // Imports succeed.
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/images/"), "/json")
	switch {
	case r.URL.Path == "/info":
		if s, ok := e.info.(string); ok {
			_, _ = io.WriteString(w, s)
			return
		}
		_ = json.NewEncoder(w).Encode(e.info)
	case r.URL.Path == "/containers/json":
		var all []any
		for id, alloc := range e.containers {
			if alloc != "" || !strings.Contains(r.URL.Query().Get("filters"), "com.hashicorp.nomad.alloc_id") {
				all = append(all, map[string]any{
					"Id": id, "Labels": map[string]string{"com.hashicorp.nomad.alloc_id": alloc}, "Image": "image-" + id,
					"Mounts": []any{map[string]string{"Source": "/dir-" + id + "/alloc"}},
				})
			}
		}
		_ = json.NewEncoder(w).Encode(all)
	case r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, "/containers/"):
		id := strings.TrimPrefix(r.URL.Path, "/containers/")
		if id == "stubborn" {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"message":"device busy"}`)
			return
		}
		delete(e.containers, id)
	case r.URL.Path == "/images/create":
		if q := r.URL.Query(); e.imports {
			e.images = append(e.images, q.Get("repo")+":"+q.Get("tag"))
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"errorDetail":{"message":"no space left on device"}}`)
	case !slices.Contains(e.images, name):
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"No such image"}`)
	case r.Method == http.MethodDelete:
		e.images = slices.DeleteFunc(e.images, func(i string) bool { return i == name })
	}
}

// listen returns DOCKER_HOST of the engine.
func (e *engine) listen(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(e)
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return "unix://" + socket
}

func kernel(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Release[:])
}

func host(endpoint string) func(string) string {
	return func(key string) string { return map[string]string{"DOCKER_HOST": endpoint}[key] }
}

func TestFind(t *testing.T) {
	e := &engine{info: map[string]any{"ServerVersion": "28.2.2", "OSType": "linux", "KernelVersion": kernel(t), "SecurityOptions": []string{"name=seccomp,profile=builtin"}}}
	endpoint := e.listen(t)
	got, err := docker.Find(t.Context(), host(endpoint))
	if err != nil || got.Endpoint != endpoint || got.Name != "Docker 28.2.2" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// An engine whose containers Nomad does not reach is none, and the reason is said.
func TestFind_WhyNot(t *testing.T) {
	for name, tt := range map[string]struct {
		endpoint string
		info     any
		want     string
	}{
		"nothing there":   {endpoint: "unix:///nowhere/d.sock", want: "unix:///nowhere/d.sock: no engine answers"},
		"no port":         {endpoint: "tcp://127.0.0.1:1", want: "no engine answers"},
		"another machine": {endpoint: "tcp://192.0.2.1:2375", want: "it is on another machine"},
		"a name":          {endpoint: "tcp://engine.example.com:2375", want: "it is on another machine"},
		"by SSH":          {endpoint: "ssh://me@engine", want: "only unix:// and tcp:// on this machine"},
		"no URL":          {endpoint: "/run/docker.sock", want: "no URL"},
		"no engine":       {info: "<html>", want: "it is no Docker engine"},
		"rootless":        {info: map[string]any{"OSType": "linux", "SecurityOptions": []string{"name=seccomp", "name=rootless"}}, want: "it is rootless"},
		"Windows":         {info: map[string]any{"OSType": "windows"}, want: "its containers are for windows"},
		"a desktop":       {info: map[string]any{"OSType": "linux", "KernelVersion": "6.10.14-linuxkit", "OperatingSystem": "Docker Desktop"}, want: "a virtual one (Docker Desktop)"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := tt.endpoint
			if endpoint == "" {
				endpoint = (&engine{info: tt.info}).listen(t)
			}
			got, err := docker.Find(t.Context(), host(endpoint))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "http://") {
				t.Errorf("got %+v, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// Only containers of the named allocations go; those of a developer and of another Nomad stay.
func TestRemoveContainers(t *testing.T) {
	e := &engine{containers: map[string]string{"a": "one", "b": "one", "c": "other", "d": "", "stubborn": "two"}}
	d, err := docker.Open(e.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	err = d.RemoveContainers(t.Context(), docker.Owner{Allocations: []string{"one", "two", "gone"}})
	if err == nil || !strings.Contains(err.Error(), "remove container stubborn: status 500: device busy") {
		t.Errorf("got %v, want the engine's own words", err)
	}
	if got := fmt.Sprint(e.containers); got != "map[c:other d: stubborn:two]" {
		t.Errorf("left are %s", got)
	}
	if err := d.RemoveContainers(t.Context(), docker.Owner{}); err != nil || len(e.containers) != 3 {
		t.Errorf("of no allocation: %v, left are %v", err, e.containers)
	}
}

// While the engine was away Nomad has forgotten allocations: their containers are known by
// the cluster's own image and folder.
func TestRemoveContainers_ForgottenAllocations(t *testing.T) {
	e := &engine{containers: map[string]string{"pause": "forgotten", "app": "forgotten", "other": "of another", "own": ""}}
	d, err := docker.Open(e.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveContainers(t.Context(), docker.Owner{Image: "image-pause", Dir: "/dir-app"}); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveContainers(t.Context(), docker.Owner{Image: "image-own", Dir: "/dir-oth"}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(e.containers); got != "map[other:of another own:]" {
		t.Errorf("left are %s", got)
	}
}

func TestRemoveContainers_EngineIsAway(t *testing.T) {
	d, err := docker.Open("unix:///nowhere/d.sock")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveContainers(t.Context(), docker.Owner{Allocations: []string{"one"}}); !errors.Is(err, docker.ErrAway) {
		t.Errorf("got %v", err)
	}
}

func TestMakeImage(t *testing.T) {
	e := &engine{imports: true}
	d, err := docker.Open(e.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.MakeImage(t.Context(), "localhost/x", "1", []byte("program"), "-pause"); err != nil || len(e.images) != 1 {
		t.Fatalf("got %v, %v", e.images, err)
	}
	for range 2 { // The second time there is none.
		if err := d.RemoveImage(t.Context(), "localhost/x:1"); err != nil || len(e.images) != 0 {
			t.Errorf("got %v, %v", e.images, err)
		}
	}
	e.imports = false // An engine says so in an answer with status 200.
	if err := d.MakeImage(t.Context(), "localhost/x", "1", []byte("program")); err == nil {
		t.Error("an import that failed is no error")
	}
}
