package framing_test

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

const smuggled = proxytest.Smuggled

func wire(s string) []byte { return proxytest.Wire(s) }

// pieces are ways in which what is sent may come.
func pieces() map[string]func() int {
	return map[string]func() int{
		"at once": func() int { return 1 << 20 }, "byte by byte": func() int { return 1 }, "by three": func() int { return 3 },
	}
}

func TestAttacks(t *testing.T) {
	for _, a := range proxytest.Attacks() {
		for how, piece := range pieces() {
			t.Run(a.Name+"/"+how, func(t *testing.T) {
				got := serveMem(t, a.Bytes(), piece, framing.Config{HTTP2: true}, nil)
				if a.Why == "" {
					if len(got.refused) > 0 {
						t.Fatalf("refused: %v", got.refused)
					}
				} else if len(got.refused) != 1 || got.refused[0].String() != a.Why {
					t.Fatalf("refused for %v, want %v", got.refused, a.Why)
				}
				for _, r := range got.requests {
					if strings.Contains(r.Target, "smuggled") && !wants(a.Served, r) || r.Whole && a.Why != "" && !wants(a.Served, r) {
						t.Errorf("the server saw %+v", r)
					}
				}
				for i, want := range a.Served {
					if len(got.requests) <= i || got.requests[i] != want {
						t.Fatalf("the server saw %+v, want %+v", got.requests, a.Served)
					}
				}
				if a.Why != "" && a.Why != "chunk" && a.Why != "trailer" {
					last := got.answer[strings.LastIndex(got.answer, "HTTP/1.1 "):]
					if !strings.HasPrefix(last, "HTTP/1.1 400 Bad Request\r\nWadi-Error: malformed\r\n") || !strings.HasSuffix(last, "400 Bad Request: "+got.refused[0].Text()+"\n") {
						t.Errorf("answered %q", got.answer)
					}
				}
			})
		}
	}
}

func wants(all []proxytest.Request, r proxytest.Request) bool {
	for _, w := range all {
		if w == r {
			return true
		}
	}
	return false
}
