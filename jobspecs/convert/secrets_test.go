package convert_test

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/jobspecs/convert"
)

// What Wadi would refuse is noted, with its place in the result.
func TestConvert_Secrets(t *testing.T) {
	const marker = "m4rk3r"
	src := `job "shop" {
  group "web" {
    task "web" {
      driver = "docker"
      config {
        image = "registry.example/web:1"
        auth {
          username = "me"
          password = "` + marker + `"
        }
      }
      template {
        destination = "local/x"
        data        = "-----BEGIN PRIVATE KEY-----` + strings.Repeat(marker, 10) + `-----END PRIVATE KEY-----"
      }
      artifact {
        source = "https://me:${var.token}@example.com/x"
      }
      artifact {
        source = "https://me:` + marker + `@example.com/x"
      }
    }
    task "fine" {
      driver = "docker"
      config {
        image = "registry.example/web:1"
        auth {
          password = "$${PASSWORD}"
        }
      }
      template {
        destination    = "secrets/x"
        env            = true
        left_delimiter = "(("
        data           = "PASSWORD=(( key \"x\" ))"
      }
    }
    task "variable" {
      driver = "docker"
      config {
        image = "registry.example/web:1"
        auth {
          password = var.password
        }
      }
    }
  }
}
variable "password" {
  default = "x"
}
variable "token" {
  default = "x"
}
`
	r, problems := convert.Convert(jobspecs.File{Name: "shop.nomad.hcl", Source: []byte(src)})
	if jobspecs.HasErrors(problems) {
		t.Fatal(problems)
	}
	lines := strings.Split(string(r.HCL), "\n")
	found := 0
	for _, n := range r.Notes {
		if n.File != "the result" {
			continue
		}
		found++
		if !n.Warning || strings.Contains(n.String(), marker) || !strings.Contains(lines[n.Line-1], marker) {
			t.Errorf("noted %s at %q", n, lines[n.Line-1])
		}
	}
	if found != 3 {
		t.Errorf("%d secrets are noted, want 3: %v", found, r.Notes)
	}
}
