package nomad_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/nomad"
)

// tenants is a fake Nomad with ACLs, in which each namespace has one job. Like Nomad it
// answers forbidden streams with nothing.
type tenants struct {
	mu         sync.Mutex
	namespaces []string
	mayRead    []string
	streams    map[string][]chan string // Open streams, by the requested namespace.
	opened     map[string]int
}

func (a *tenants) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query().Get("namespace")
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("X-Nomad-Index", "9")
	list := func(format string) {
		var all []string
		for _, ns := range a.namespaces {
			if slices.Contains(a.mayRead, ns) && (asked == ns || asked == "*" || asked == "") {
				all = append(all, fmt.Sprintf(format, ns))
			}
		}
		_, _ = fmt.Fprint(w, "["+strings.Join(all, ",")+"]")
	}
	switch r.URL.Path {
	case "/v1/event/stream":
		a.stream(w, r, asked)
	case "/v1/namespaces":
		list(`{"Name":%q}`)
	case "/v1/jobs":
		if len(a.mayRead) == 0 {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		list(`{"ID":"hello-00001","Namespace":%q}`)
	case "/v1/allocations", "/v1/evaluations":
		_, _ = fmt.Fprint(w, "[]")
	default:
		_, _ = fmt.Fprintf(w, `{"ID":"hello-00001","Namespace":%q,"JobModifyIndex":1,"TaskGroups":[{"Name":"instance","Count":1}]}`, asked)
	}
}

// stream answers as long as the stream is open. The caller holds the mutex.
func (a *tenants) stream(w http.ResponseWriter, r *http.Request, asked string) {
	tells := []string{asked}
	if asked == "*" {
		tells = slices.Clone(a.namespaces) // The stream covers these only, as long as it is open.
	}
	allowed := !slices.ContainsFunc(tells, func(ns string) bool { return !slices.Contains(a.mayRead, ns) })
	lines := make(chan string, 100)
	if allowed {
		for _, ns := range tells {
			a.streams[ns] = append(a.streams[ns], lines)
		}
		a.opened[asked]++
	}
	a.mu.Unlock()
	defer a.mu.Lock()
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	for allowed {
		_, _ = fmt.Fprintln(w, "{}")
		w.(http.Flusher).Flush()
		select {
		case line, open := <-lines:
			if !open {
				return
			}
			_, _ = fmt.Fprintln(w, line)
		case <-r.Context().Done():
			return
		}
	}
	<-r.Context().Done()
}

// scale sends the job's count on all streams of a namespace.
func (a *tenants) scale(namespace string, index, count int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, lines := range a.streams[namespace] {
		lines <- fmt.Sprintf(`{"Index":%d,"Events":[{"Topic":"Job","Index":%[1]d,"Namespace":%[2]q,"Payload":{"Job":{"ID":"hello-00001","Namespace":%[2]q,"JobModifyIndex":%[1]d,"TaskGroups":[{"Name":"instance","Count":%[3]d}]}}}]}`,
			index, namespace, count)
	}
}

// set changes the namespaces and the readable ones; it closes streams that are forbidden
// now.
func (a *tenants) set(namespaces, mayRead []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.namespaces, a.mayRead = namespaces, mayRead
	closed := map[chan string]bool{}
	for ns, all := range a.streams {
		if slices.Contains(mayRead, ns) {
			continue
		}
		for _, lines := range all {
			if !closed[lines] {
				close(lines)
			}
			closed[lines] = true
		}
	}
	for ns, all := range a.streams {
		a.streams[ns] = slices.DeleteFunc(all, func(c chan string) bool { return closed[c] })
	}
}

func (a *tenants) watch(t *testing.T, services ...string) *nomad.Watcher {
	t.Helper()
	a.streams, a.opened = map[string][]chan string{}, map[string]int{}
	w := &nomad.Watcher{
		Client: client(t, a), FirstLine: 300 * time.Millisecond,
		Namespaces: func() ([]string, bool) { return services, true },
	}
	run(t, w, false)
	return w
}

func synced(t *testing.T, w *nomad.Watcher) {
	t.Helper()
	select {
	case <-w.Synced():
	case <-time.After(time.Minute):
		t.Fatal("not synced")
	}
}

// soon waits until ok.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for late := time.After(time.Minute); !ok(); {
		select {
		case <-late:
			t.Fatalf("not within a minute: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// tells waits until w sees the new counts of a namespace's job.
func (a *tenants) tells(t *testing.T, w *nomad.Watcher, namespace string, index int) {
	t.Helper()
	soon(t, "what happens in "+namespace, func() bool {
		a.scale(namespace, index, index)
		j, _ := w.Job(namespace, "hello-00001")
		return j.Count == index && w.Connected(namespace) && w.Usable(namespace)
	})
}

// With rights in some namespaces, those of services are watched, and any other as soon as
// it is requested.
func TestWatch_SomeNamespaces(t *testing.T) {
	a := &tenants{namespaces: []string{"default", "foreign", "team"}, mayRead: []string{"default", "team"}}
	w := a.watch(t, "team")
	synced(t, w)
	a.tells(t, w, "team", 20)
	a.tells(t, w, "default", 21)
	if _, ok := w.Job("foreign", "hello-00001"); ok || w.Usable("foreign") {
		t.Error("something is known of a namespace that may not be read")
	}
	soon(t, "the refused namespace is told of", func() bool { return slices.Equal(w.Unwatched(), []string{"foreign"}) })
	if !w.Up() {
		t.Error("Nomad is said to be away")
	}

	a.set([]string{"default", "foreign", "team"}, []string{"default", "foreign", "team"})
	a.tells(t, w, "foreign", 22)
	soon(t, "one stream of all", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.opened["*"] == 1 })
	for i, ns := range a.namespaces {
		a.tells(t, w, ns, 30+i)
	}

	a.set([]string{"default", "foreign", "team"}, []string{"team"})
	soon(t, "a right that was taken is missed", func() bool { return !w.Connected("default") && !w.Connected("foreign") })
	a.tells(t, w, "team", 40)
	if j, ok := w.Job("default", "hello-00001"); !ok || j.Count != 30 {
		t.Errorf("of what can't be read any more %+v is known, want what was last known", j)
	}
}

// A stream of all namespaces does not cover those that are made after it was opened.
func TestWatch_NewNamespace(t *testing.T) {
	a := &tenants{namespaces: []string{"default"}, mayRead: []string{"default", "later"}}
	w := a.watch(t)
	synced(t, w)
	a.tells(t, w, "default", 20)
	a.set([]string{"default", "later"}, a.mayRead)
	a.tells(t, w, "later", 21)
	a.tells(t, w, "default", 22)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.opened["*"] != 1 || a.opened["later"] != 1 {
		t.Errorf("streams opened: %v, want one of all, and one of the new namespace", a.opened)
	}
}

// Any number of namespaces: each that is made after the stream of all was opened costs a
// connection, until there are too many and the stream of all is reopened.
func TestWatch_ManyNewNamespaces(t *testing.T) {
	a := &tenants{namespaces: []string{"default"}}
	later := []string{"default"}
	for i := range 40 {
		later = append(later, fmt.Sprintf("later-%02d", i))
	}
	a.mayRead = later
	w := a.watch(t)
	synced(t, w)
	a.set(later, later)
	for _, ns := range later {
		w.Usable(ns)
	}
	for i, ns := range later {
		a.tells(t, w, ns, 20+i)
	}
	if un := w.Unwatched(); len(un) != 0 {
		t.Errorf("%v are not watched", un)
	}
}

// With a token that may read nothing the watcher is never synced: an empty answer is not
// the state.
func TestWatch_NoNamespace(t *testing.T) {
	a := &tenants{namespaces: []string{"default"}}
	w := a.watch(t)
	select {
	case <-w.Synced():
		t.Fatal("synced without any right")
	case <-time.After(time.Second):
	}
	if w.Up() {
		t.Error("Nomad is said to be there")
	}
	a.set(a.namespaces, a.namespaces)
	synced(t, w)
}
