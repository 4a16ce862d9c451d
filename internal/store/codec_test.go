package store_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/store"
)

var update = flag.Bool("update", false, "rewrite golden files")

// spec is a service with something in most fields. Its source is n bytes long.
func spec(name string, n int) wadi.Spec {
	grpc := ""
	return wadi.Spec{
		Service: wadi.Service{
			Name: name, Namespace: "default", Datacenters: []string{"*"}, Port: 8080, Protocol: wadi.HTTP1,
			Domains:  []string{name + ".example.com"},
			Instance: json.RawMessage(`{"Tasks":[{"Name":"web","Config":{"command":"a <b> & c"}}]}`),
			Probe:    wadi.Probe{GRPC: &grpc, Timeout: wadi.Duration(time.Second)},
			Traffic:  []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 99.99}, {Revision: name + "-00001", Percent: 0.01}},
		},
		File: name + ".hcl", Source: strings.Repeat("ü", n/2) + strings.Repeat("x", n%2),
		Variables:  map[string]string{"image": "nginx:1.27", "b": "", "a": "\x00\"<"},
		Generation: 3, Latest: name + "-00002", Submitted: 1_700_000_000,
	}
}

func TestCodec_RoundTrip(t *testing.T) {
	c := store.NewCodec()
	for _, n := range []int{0, 1, 3000, 4096, 5000, 300_000} {
		want := spec("hello", n)
		b, err := c.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		if zipped := bytes.HasPrefix(b, []byte{0x1f, 0x8b}); zipped != (n >= 4096) {
			t.Errorf("%d bytes of source: compressed is %v", n, zipped)
		}
		again, err := c.Encode(want)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%d bytes of source: equal values differ when encoded", n)
		}
		var got wadi.Spec
		if err := c.Decode(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d bytes of source (-want +got):\n%s", n, diff)
		}
	}
}

// FuzzCodec: whatever text is stored comes back, and whatever bytes are found
// are read or refused, never a panic.
func FuzzCodec(f *testing.F) {
	f.Add("service \"hello\" {}", []byte(`{"schema":1,"kind":"spec","data":{}}`))
	f.Add("", []byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, source string, found []byte) {
		c := store.NewCodec()
		want := wadi.Spec{Source: strings.ToValidUTF8(source, "?")}
		b, err := c.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		var got, other wadi.Spec
		if err := c.Decode(b, &got); err != nil || got.Source != want.Source {
			t.Errorf("got %q, %v; want %q", got.Source, err, want.Source)
		}
		_ = c.Decode(found, &other)
	})
}

// The golden files are what schema 1 looks like in Consul. They change never,
// or together with a migration.
func TestCodec_Golden(t *testing.T) {
	c := store.NewCodec()
	for name, n := range map[string]int{"spec.v1.json": 10, "spec.v1.json.gz": 10_000} {
		file := filepath.Join("testdata", name)
		want := spec("hello", n)
		if *update {
			b, err := c.Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got wadi.Spec
		if err := c.Decode(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if enc, _ := c.Encode(want); n == 10 && !bytes.Equal(enc, b) {
			t.Errorf("encoded as %s\nwant %s", enc, b)
		}
	}
}

func TestCodec_LiftsOlderSchemas(t *testing.T) {
	rename := func(old, now string) func(json.RawMessage) (json.RawMessage, error) {
		return func(b json.RawMessage) (json.RawMessage, error) {
			return bytes.ReplaceAll(b, []byte(old), []byte(now)), nil
		}
	}
	old := []byte(`{"schema":1,"kind":"spec","data":{"text":"x","generation":7}}`)
	older := store.NewCodec(rename(`"text"`, `"body"`), rename(`"body"`, `"source"`))
	var got wadi.Spec
	if err := older.Decode(old, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wadi.Spec{Source: "x", Generation: 7}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	middle := []byte(`{"schema":2,"kind":"spec","data":{"body":"y"}}`)
	if err := older.Decode(middle, &got); err != nil || got.Source != "y" {
		t.Errorf("from schema 2: got %q, %v", got.Source, err)
	}
	b, err := older.Encode(got)
	if err != nil || !bytes.Contains(b, []byte(`"schema":3`)) {
		t.Errorf("encoded as %s, %v; want schema 3", b, err)
	}
}

func TestCodec_Refuses(t *testing.T) {
	var route wadi.Route
	zipBomb := func() []byte {
		b, _ := store.NewCodec().Encode(wadi.Spec{Source: strings.Repeat("x", 1<<20)})
		return b[:len(b)-20]
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"newer", []byte(`{"schema":2,"kind":"route","data":{}}`), "written by a newer Wadi: its schema is 2, this agent knows 1; upgrade this agent"},
		{"another kind", []byte(`{"schema":1,"kind":"spec","data":{}}`), `not a route of Wadi's (kind "spec", schema 1)`},
		{"no envelope", []byte(`{"service":"hello"}`), `not a route of Wadi's (kind "", schema 0)`},
		{"no JSON", []byte(`hello`), "not a value of Wadi's: invalid character 'h' looking for beginning of value"},
		{"nothing", nil, "not a value of Wadi's: unexpected end of JSON input"},
		{"cut off", zipBomb(), "decompress: unexpected EOF"},
		{"wrong type", []byte(`{"schema":1,"kind":"route","data":{"targets":"x"}}`), "decode route: json: cannot unmarshal string into Go struct field Route.targets of type []wadi.RouteTarget"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := store.NewCodec().DecodeRoute(tt.in, &route)
			if got := fmt.Sprint(err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	if _, err := store.NewCodec().Encode(wadi.Spec{Source: strings.Repeat("x", 9<<20)}); err == nil {
		t.Error("9 MiB are encoded, though they can't be decoded")
	}
}
