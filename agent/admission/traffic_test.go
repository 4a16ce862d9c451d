package admission_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

// to is a traffic block for each of "90 latest" or "0 hello-00001 old".
func to(texts ...string) string {
	var b strings.Builder
	for _, text := range texts {
		var percent, revision, tag string
		_, _ = fmt.Sscan(text, &percent, &revision, &tag) // Without a tag it ends early.
		fmt.Fprintf(&b, "traffic {\n  revision = %q\n  percent = %s\n", revision, percent)
		if tag != "" {
			fmt.Fprintf(&b, "  tag = %q\n", tag)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// three is a bench where hello has three revisions, of which the second failed.
func three(t *testing.T) bench {
	t.Helper()
	b := newBench(t)
	for _, command := range []string{"/1", "/2", "/3"} {
		b.submit(t, request(spec("hello", command)))
	}
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{
		"hello-00001": {Phase: wadi.Retired}, "hello-00002": {Phase: wadi.Failed, Reason: "no such image"}, "hello-00003": {Phase: wadi.Ready},
	}})
	return b
}

func (b bench) traffic(t *testing.T, name string) []wadi.TrafficTarget {
	t.Helper()
	s, _, err := b.store.Spec(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.Service.Traffic
}

func TestSubmit_TrafficNamesRevisions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source string
		texts  []string // Of the refusal; none: it is good.
	}{
		{"a retired one", spec("hello", "/3", to("90 latest", "10 hello-00001 old")), nil},
		{"the one that is made", spec("hello", "/4", to("90 hello-00003", "10 hello-00004")), nil},
		{"one that isn't there", spec("hello", "/3", to("90 latest", "10 hello-00007")),
			[]string{"a.hcl:9,14: traffic[1].revision", `no revision "hello-00007"`, "there are: latest, hello-00003, hello-00001\n"}},
		{"one later than the one that is made", spec("hello", "/4", to("90 latest", "10 hello-00005")),
			[]string{"a.hcl:9", `no revision "hello-00005"`, "there are: latest, hello-00004, hello-00003, hello-00001\n"}},
		{"one that is not made after all", spec("hello", "/3", to("90 latest", "10 hello-00004")), []string{"a.hcl:9", `no revision "hello-00004"`}},
		{"a failed one, which is tried again", spec("hello", "/3", to("90 latest", "10 hello-00002")), nil},
		{"the first of a new service", spec("world", "/1", to("100 world-00001")), []string{"a.hcl:5", "the service is new", `revision = "latest"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := three(t)
			if tt.texts == nil {
				b.submit(t, request(tt.source))
				return
			}
			refusal := b.refused(t, request(tt.source), 422)
			for _, text := range tt.texts {
				if !strings.Contains(refusal.Error()+"\n", text) {
					t.Errorf("%q is missing in:\n%v", text, refusal)
				}
			}
		})
	}
}

// A revision that is being deleted gets no traffic.
func TestSubmit_TrafficForDeleted(t *testing.T) {
	b := three(t)
	err := b.store.MarkRevision(t.Context(), "hello", "hello-00001", func(wadi.Marked) (wadi.Mark, error) { return wadi.Mark{Deleted: true}, nil })
	if err != nil {
		t.Fatal(err)
	}
	refusal := b.refused(t, request(spec("hello", "/3", to("90 latest", "10 hello-00001"))), 422)
	if want := `revision "hello-00001" is being deleted; there are: latest, hello-00003`; !strings.Contains(refusal.Error(), want) {
		t.Errorf("%q is missing in:\n%v", want, refusal)
	}
	b.submit(t, request(spec("hello", "/3", to("90 latest", "10 hello-00002"))))
}

// Without a traffic block what is stored stays, also with a new revision.
func TestSubmit_TrafficStays(t *testing.T) {
	b := three(t)
	b.submit(t, request(spec("hello", "/3", to("60 latest", "40 hello-00001 old"))))
	want := []wadi.TrafficTarget{{Revision: "latest", Percent: 60}, {Revision: "hello-00001", Percent: 40, Tag: "old"}}
	for _, source := range []string{spec("hello", "/3"), spec("hello", "/4"), spec("hello", "/4", "scale {", "max = 3", "}")} {
		got := b.submit(t, request(source))
		if diff := cmp.Diff(want, b.traffic(t, "hello")); diff != "" || len(got.Services[0].Warnings) > 0 {
			t.Errorf("warnings %v, traffic (-want +got):\n%s", got.Services[0].Warnings, diff)
		}
	}
	b.submit(t, request(spec("hello", "/4", to("100 latest"))))
	if got := b.traffic(t, "hello"); len(got) != 1 {
		t.Errorf("traffic %v, want it set anew", got)
	}
}

// A revision of the stored traffic that has failed blocks no submission, and is
// tried again with it.
func TestSubmit_StoredTrafficFails(t *testing.T) {
	b := three(t)
	b.submit(t, request(spec("hello", "/4", to("50 hello-00003", "50 hello-00004"))))
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{"hello-00004": {Phase: wadi.Failed, Reason: "it ended"}}})
	got := b.submit(t, request(spec("hello", "/5"))).Services[0]
	if len(got.Warnings) > 0 || !slices.Equal(got.Retried, []string{"hello-00004"}) {
		t.Errorf("warnings %q, tried again %v; want hello-00004 tried again", got.Warnings, got.Retried)
	}
}

func TestSubmit_IntentionsChangeInPlace(t *testing.T) {
	b := newBench(t)
	envoy := func(more ...string) string {
		s := strings.Replace(spec("hello", "/1", more...), `"off"`, `"envoy"`, 1)
		return strings.Replace(s, `"host"`, `"bridge"`, 1)
	}
	b.submit(t, request(envoy()))
	got := b.submit(t, request(envoy("intentions {", `allow = ["web"]`, "}"))).Services[0]
	if got.NewRevision || !got.Changed || got.Revision != "hello-00001" {
		t.Errorf("got %+v, want it changed in place", got)
	}
	if s, _, _ := b.store.Spec(t.Context(), "hello"); s.Service.Intentions == nil {
		t.Error("they are not stored")
	}
}

func TestSubmit_NamesOfTags(t *testing.T) {
	const canary = "0 latest canary"
	envoy := func(name string) string {
		s := strings.Replace(spec(name, "/1", to("100 latest foreign")), `"off"`, `"envoy"`, 1)
		return strings.Replace(s, `"host"`, `"bridge"`, 1)
	}
	for _, tt := range []struct {
		name    string
		stored  []string
		sources []string
		texts   []string // Of the refusal; none: it is good.
	}{
		{"a tag with a service's name", []string{spec("canary-hello", "/1")}, []string{spec("hello", "/1", to("100 latest", canary))},
			[]string{"a.hcl:11,9: traffic[1].tag", `"canary-hello"`, `the service "canary-hello"`}},
		{"a service with a tag's name", []string{spec("hello", "/1", to("100 latest", canary))}, []string{spec("canary-hello", "/1")},
			[]string{"a.hcl:1,9: name", `"canary-hello"`, `tag "canary" of the service "hello"`}},
		{"a tag with a tag's name", []string{spec("b-c", "/1", to("100 latest a"))}, []string{spec("c", "/1", to("100 latest a-b"))},
			[]string{"a.hcl:7,9: traffic[0].tag", `"a-b-c"`, `tag "a" of the service "b-c"`}},
		{"a tag and a service at once", nil, []string{spec("canary-hello", "/1"), spec("hello", "/1", to("100 latest", canary))},
			[]string{"b.hcl:11", `the service "canary-hello"`, "same submission"}},
		{"two tags at once", nil, []string{spec("c", "/1", to("100 latest a-b")), spec("b-c", "/1", to("100 latest a"))},
			[]string{"b.hcl:7", `tag "a-b" of the service "c"`, "same submission"}},
		{"one tag goes as the other comes", []string{spec("b-c", "/1", to("100 latest a"))},
			[]string{spec("b-c", "/1", to("100 latest")), spec("c", "/1", to("100 latest a-b"))}, nil},
		{"a kept tag counts", []string{spec("b-c", "/1", to("100 latest a"))}, []string{spec("b-c", "/1"), spec("c", "/1", to("100 latest a-b"))},
			[]string{"b.hcl:7", `tag "a" of the service "b-c"`}},
		{"the same again", []string{spec("hello", "/1", to("100 latest", canary))}, []string{spec("hello", "/2", to("100 latest", canary))}, nil},
		{"a tag of one service is another's too", []string{spec("hello", "/1", to("100 latest", canary))},
			[]string{spec("world", "/1", to("100 latest", canary))}, nil},
		{"a foreign service in Consul", nil, []string{envoy("tagged")}, []string{"a.hcl:7", `"foreign-tagged"`, "is not managed by Wadi"}},
		{"which does not matter outside the mesh", nil, []string{spec("tagged", "/1", to("100 latest foreign"))}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			for _, s := range tt.stored {
				b.submit(t, request(s))
			}
			if tt.texts == nil {
				b.submit(t, request(tt.sources...))
				return
			}
			_ = b.refused(t, request(tt.sources...), 422, tt.texts...)
		})
	}
}

// Another submission gets the tag's name while this one registers its jobs: the refusal is
// at the user's line, and no job stays.
func TestSubmit_TagNameTakenMeanwhile(t *testing.T) {
	b := newBench(t)
	other := newBench(t)
	other.Store, other.Nomad = b.store, b.nomad
	raced := false
	b.store.OnSubmit = func() error {
		if !raced {
			raced = true
			other.submit(t, request(spec("next-hello", "/a")))
		}
		return nil
	}
	_ = b.refused(t, request(spec("hello", "/a", `traffic {
    revision = "latest"
    tag      = "next"
  }`)), 409, "a.hcl:6,", `the name "next-hello" belongs to the service "next-hello"`)
	if got := strings.Join(b.nomad.Jobs(), " "); got != "default/next-hello-00001" {
		t.Errorf("jobs are %s", got)
	}
}
