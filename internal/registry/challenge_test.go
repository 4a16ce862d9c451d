package registry_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/registry"
)

func TestChallenges(t *testing.T) {
	bearer := registry.Challenge{Scheme: "bearer", Params: map[string]string{"realm": "https://a/token", "service": "r"}}
	basic := registry.Challenge{Scheme: "basic", Params: map[string]string{"realm": `a "b", c`}}
	for text, want := range map[string][]registry.Challenge{
		`Bearer realm="https://a/token",service="r"`:                                      {bearer},
		`bearer  realm = "https://a/token" , service=r`:                                   {bearer},
		`BEARER Realm="https://a/token",service="r",realm="https://b"`:                    {bearer}, // The first counts.
		`Basic realm="a \"b\", c"`:                                                        {basic},
		`Negotiate, Basic realm="a \"b\", c", Bearer realm="https://a/token",service="r"`: {{Scheme: "negotiate", Params: map[string]string{}}, basic, bearer},
		`Basic`:                    {{Scheme: "basic", Params: map[string]string{}}},
		``:                         nil,
		`Bearer realm="open`:       nil,
		`Bearer realm="https://a\`: nil,
		`="x"`:                     nil,
		strings.Repeat("a", 9000):  nil,
		"Bearer realm=\"https://a/token\",service=\"r\", , ,": {bearer},
	} {
		if diff := cmp.Diff(want, registry.Challenges([]string{text})); diff != "" {
			t.Errorf("%.80q (-want +got):\n%s", text, diff)
		}
	}
	if got := registry.Challenges([]string{strings.Repeat("a,", 4000), `Basic realm="x"`}); len(got) > 16 {
		t.Errorf("%d challenges are read", len(got))
	}
}

// Whatever a registry sends is read within bounds.
func FuzzChallenges(f *testing.F) {
	for _, s := range []string{`Bearer realm="https://a/t",service="r",scope="repository:a:pull"`, `Basic realm="x"`, `Negotiate abc==, Digest a=b,c="\"d"`, "a,,b = ,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := registry.Challenges([]string{text, text})
		if len(got) > 16 {
			t.Errorf("%d challenges", len(got))
		}
		for _, c := range got {
			if c.Scheme == "" || len(c.Params) > 16 || c.Scheme != strings.ToLower(c.Scheme) {
				t.Errorf("read %+v", c)
			}
			for k, v := range c.Params {
				if k == "" || len(k)+len(v) > len(text) {
					t.Errorf("read %q=%q", k, v)
				}
			}
		}
	})
}
