package jobspecs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

func TestParse_Traffic(t *testing.T) {
	target := func(id string, percent float64, tag string) wadi.TrafficTarget {
		return wadi.TrafficTarget{Revision: id, Percent: percent, Tag: tag}
	}
	for _, tt := range []struct {
		name, in string
		want     []wadi.TrafficTarget
	}{
		{"none", "", nil},
		{"the only one", "traffic {\n revision = \"a-00003\"\n}", []wadi.TrafficTarget{target("a-00003", 100, "")}},
		{"the only one, with a tag", "traffic {\n revision = \"latest\"\n tag = \"new\"\n}", []wadi.TrafficTarget{target("latest", 100, "new")}},
		{"a third and a tag", `
			traffic {
			  revision = "latest"
			  percent  = 100 - 33.33
			}
			traffic {
			  revision = "a-00001"
			  percent  = "33.33"
			}
			traffic {
			  revision = "a-00001"
			  tag      = "old"
			}`, []wadi.TrafficTarget{target("latest", 66.67, ""), target("a-00001", 33.33, ""), target("a-00001", 0, "old")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, problems := parseOne(t, "service \"a\" {\n instance {}\n"+tt.in+"\n}\n", jobspecs.Options{})
			if len(problems) > 0 {
				t.Fatalf("problems:\n%s", texts(problems))
			}
			if diff := cmp.Diff(tt.want, d.Service.Traffic); diff != "" {
				t.Errorf("traffic (-want +got):\n%s", diff)
			}
		})
	}
}

// A complaint about one of several targets is at the place of that target.
func TestDraft_AtTraffic(t *testing.T) {
	d, _ := parseOne(t, "service \"a\" {\n instance {}\n traffic {\n  revision = \"latest\"\n  percent = 100\n }\n"+
		" traffic {\n  revision = \"a-00001\"\n  tag = \"old\"\n }\n}\n", jobspecs.Options{})
	for path, want := range map[string]int{
		"traffic": 3, jobspecs.TrafficPath(0): 3, jobspecs.TrafficPath(1): 7,
		jobspecs.TrafficPath(1) + ".revision": 8, jobspecs.TrafficPath(1) + ".tag": 9, jobspecs.TrafficPath(2): 1,
	} {
		if got := d.At(path, "").Line; got != want {
			t.Errorf("%s is at line %d, want %d", path, got, want)
		}
	}
}

func TestParse_Intentions(t *testing.T) {
	for in, want := range map[string]*wadi.Intentions{
		"":                                  nil,
		"intentions {\n allow = []\n}":      {Allow: []string{}},
		"intentions {\n allow = [\"*\"]\n}": {Allow: []string{"*"}},
		"intentions {\n allow = [\"web\", \"Old_Shop.v2\"]\n}": {Allow: []string{"web", "Old_Shop.v2"}},
	} {
		d, problems := parseOne(t, "service \"a\" {\n instance {}\n"+in+"\n}\n", jobspecs.Options{})
		if diff := cmp.Diff(want, d.Service.Intentions); diff != "" || len(problems) > 0 {
			t.Errorf("%s: problems %v, (-want +got):\n%s", in, problems, diff)
		}
	}
}
