package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/agent/config"
)

const page = "../../docs/config.md"

// rows are the cells of the tables of docs/config.md with so many columns.
func rows(t *testing.T, columns int) [][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != columns || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		cells[0] = strings.Trim(cells[0], "`")
		out = append(out, cells)
	}
	return out
}

// docs/config.md has a row for each setting, with its type, its default, and whether a
// reload changes it.
func TestDocs_EverySetting(t *testing.T) {
	got := map[string][4]string{}
	for _, r := range rows(t, 6) {
		text := r[2]
		if literal, ok := strings.CutPrefix(text, "`"); ok {
			text = strings.TrimSuffix(literal, "`")
		} else {
			text = "" // Said in words: there is no value that could be written.
		}
		if _, twice := got[r[0]]; twice {
			t.Errorf("%s has two rows", r[0])
		}
		got[r[0]] = [4]string{r[1], text, r[4]}
	}
	want := map[string][4]string{}
	for _, s := range config.Settings() {
		change := "restart"
		if s.Live {
			change = "reload"
		}
		want[s.Path] = [4]string{s.Type, s.Default, change}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings of the code (-), %s (+):\n%s", page, diff)
	}
}

// setting writes one setting, inside of its blocks.
func setting(path, value string) string {
	names := strings.Split(path, ".")
	text := fmt.Sprintf("%s = %s\n", names[len(names)-1], value)
	for i := len(names) - 2; i >= 0; i-- {
		switch name := names[i]; {
		case name == "NAME":
			text = fmt.Sprintf("admission \"NAME\" {\n%s}\n", text)
			i--
		default:
			text = fmt.Sprintf("%s {\n%s}\n", name, text)
		}
	}
	return text
}

var rangeOf = regexp.MustCompile(`^(\S+) to (\S+)$`)

// The ends of each range in docs/config.md are allowed, and what is just outside is not.
func TestDocs_Ranges(t *testing.T) {
	tried := 0
	for _, r := range rows(t, 6) {
		path, kind := r[0], r[1]
		m := rangeOf.FindStringSubmatch(r[3])
		if numeric := kind == "number" || kind == "size" || kind == "duration"; numeric != (m != nil) {
			t.Errorf("%s is a %s with the range %q", path, kind, r[3])
		}
		if m == nil {
			continue
		}
		tried++
		low, high := valueOf(t, kind, m[1]), valueOf(t, kind, m[2])
		for value, allowed := range map[int64]bool{low: true, high: true, low - 1: false, high + 1: false} {
			text := strconv.FormatInt(value, 10)
			if kind == "duration" {
				text = fmt.Sprintf("%q", time.Duration(value))
			}
			file := filepath.Join(write(t, map[string]string{"wadi.hcl": sidecar + setting(path, text)}), "wadi.hcl")
			_, problems := config.Load([]string{file}, noEnv, config.Flags{})
			refused := false
			for _, p := range problems {
				refused = refused || p.Path == path
			}
			if refused == allowed {
				t.Errorf("%s = %s: refused %v, want %v: %v", path, text, refused, !allowed, problems)
			}
		}
	}
	if tried == 0 {
		t.Error("no range")
	}
}

func valueOf(t *testing.T, kind, text string) int64 {
	t.Helper()
	if kind == "duration" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return int64(d)
	}
	for unit, size := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if digits, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n * size
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// docs/config.md lists the variables that the configuration reads, and what they set.
func TestDocs_Environment(t *testing.T) {
	listed := map[string]bool{}
	for _, r := range rows(t, 2) {
		if strings.HasPrefix(r[0], "wadi_") {
			continue // A metric.
		}
		listed[r[0]] = true
	}
	read := map[string]bool{}
	config.Load(nil, func(name string) string { read[name] = true; return "" }, config.Flags{Dev: true})
	if diff := cmp.Diff(read, listed); diff != "" {
		t.Errorf("read (-), in %s (+):\n%s", page, diff)
	}
}
