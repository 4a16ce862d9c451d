package admission_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/admission/images"
)

// A service whose image has a HEALTHCHECK is told once, in plan and at the revision it makes, that nobody sees the
// result. Whoever chose a probe, or has it switched off, is not.
func TestHealthcheck(t *testing.T) {
	const warning = `image of task web: "reg.example/web:1.4" has a HEALTHCHECK, which Docker runs and whose result neither Nomad nor Wadi sees`
	has := images.Config{Healthcheck: true}
	off := strings.Replace(docker(web), "image = ", "healthchecks {\n disable = true\n }\n image = ", 1)
	for _, tt := range []struct {
		name, source string
		config       *images.Config
		asked        int
		warns        bool
	}{
		{"it has one", docker(web), &has, 1, true},
		{"it has none", docker(web), &images.Config{}, 1, false},
		{"its config can't be read", docker(web), nil, 1, false},
		{"switched off", off, &has, 0, false},
		{"switched on", strings.Replace(off, "true", "false", 1), &has, 1, true},
		{"a probe", docker(web, `probe {`, `http = "/"`, `}`), &has, 0, false},
		{"a probe of another time", docker(web, `probe {`, `timeout = "2s"`, `}`), &has, 1, true},
		{"the default probe, chosen", docker(web, `probe {`, `tcp = true`, `}`), &has, 0, false},
		{"not resolved", docker(web, `resolve_images = "off"`), &has, 0, false},
		{"by digest", docker("reg.example/web@" + admissiontest.Digest("v1")), &has, 0, false},
		{"podman", withDriver("podman", web), &has, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newImageBench(t)
			if tt.config != nil {
				b.registries.Configure("v1", *tt.config)
			}
			got := b.submit(t, request(tt.source)).Services[0]
			if text := strings.Join(got.Warnings, "\n"); strings.Contains(text, warning) != tt.warns || !tt.warns && text != "" {
				t.Errorf("warnings %q", text)
			}
			if n := b.registries.Read(); n != tt.asked {
				t.Errorf("%d configs were asked for, want %d", n, tt.asked)
			}
			if rev := b.newest(t); rev.Images[0].Warning != "" {
				t.Errorf("the revision's image has %q", rev.Images[0].Warning)
			}
			got = b.submit(t, request(tt.source)).Services[0]
			if n := b.registries.Read(); n != 0 || len(got.Warnings) > 0 || got.NewRevision {
				t.Errorf("the same again: %d configs were asked for, %+v", n, got)
			}
		})
	}
}

// A registry that is away for tags is not asked about configs.
func TestHealthcheck_WithoutAnAnswer(t *testing.T) {
	b := newImageBench(t)
	b.registries.Fail("", fmt.Errorf("away: %w", wadi.ErrUnavailable))
	b.submit(t, request(docker(web)))
	if n := b.registries.Read(); n != 0 {
		t.Errorf("%d configs were asked for", n)
	}
}
