package jobspecs_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi/jobspecs"
)

func lex(t *testing.T, src string) hclsyntax.Tokens {
	t.Helper()
	tokens, diags := hclsyntax.LexConfig([]byte(src), "a.hcl", hcl.Pos{Line: 1, Column: 1})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return tokens
}

// TestNomadSource_KeepsPlaces: every word for Nomad's parser is at its place in the user's
// file, except for the two that Wadi adds.
func TestNomadSource_KeepsPlaces(t *testing.T) {
	sources := map[string]string{
		"no newline":  "service \"a\" {\n  instance {\n    task \"web\" {\n    }\n  }\n}",
		"umlauts":     "/* äöü e\u0301 */ service \"a\" /* ß */ {\n /* 日本 */ instance /* ü */ {\n  task \"web\" {\n   driver = \"ä\" /* é */\n  }\n }\n}\n",
		"windows":     "service \"a\" {\r\n  port = 80\r\n  instance {\r\n    task \"web\" {\r\n    }\r\n  }\r\n}\r\n",
		"mark":        "\ufeffservice \"a\" {\n  instance {\n    task \"web\" {\n    }\n  }\n}\n",
		"heredoc":     "service \"a\" {\n  meta = { x = <<-EOT\n    instance { service \"b\" {\n    EOT\n  }\n  instance {\n    task \"web\" {\n      template {\n        data = <<EOT\n}\n  }}\nEOT\n      }\n    }\n  }\n  port = 80\n}\n",
		"comments":    "# service \"b\" {\nservice \"a\" { // { instance\n  instance { # }\n    /* } */ task \"web\" {\n    }\n  }\n}\n",
		"before":      "variable \"x\" {\n  default = 1\n}\nlocals {\n  y = 2\n}\nservice \"b\" {\n  instance {\n  }\n}\nservice \"a\" {\n  scale {\n    min = 1\n  }\n  instance {\n    task \"web\" {\n    }\n  }\n}\nvariable \"z\" {\n  default = { a = 1 }\n}\n",
		"tight":       "service\"a\"{\ninstance{\ntask \"web\"{\n}\n}\n}\n",
		"unquoted":    "service a {\n  instance {\n    task \"web\" {\n    }\n  }\n}\n",
		"single line": "service \"a\" {\n  instance { restart = 1 }\n}\n",
	}
	for _, file := range append(files(t, "examples/*.hcl"), files(t, "testdata/specs/*.hcl")...) {
		sources[file] = string(read(t, file))
	}
	for name, src := range sources {
		t.Run(name, func(t *testing.T) {
			drafts, _ := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, optionsOf([]byte(src)))
			if len(drafts) == 0 {
				t.Fatal("no draft")
			}
			for _, d := range drafts {
				keepsPlaces(t, src, d)
			}
		})
	}
}

func keepsPlaces(t *testing.T, src string, d *jobspecs.Draft) {
	t.Helper()
	type place struct{ line, column int }
	users := map[place]hclsyntax.Token{}
	for _, tok := range lex(t, src) {
		users[place{tok.Range.Start.Line, tok.Range.Start.Column}] = tok
	}
	source, _ := d.NomadSource()
	put := 0
	for _, tok := range lex(t, source) {
		if tok.Type == hclsyntax.TokenNewline || tok.Type == hclsyntax.TokenEOF {
			continue
		}
		at := place{tok.Range.Start.Line, tok.Range.Start.Column}
		user, ok := users[at]
		switch {
		case ok && string(user.Bytes) == string(tok.Bytes):
		case ok && string(user.Bytes) == "service" && string(tok.Bytes) == "job", ok && string(user.Bytes) == "instance" && string(tok.Bytes) == "group":
			put++
		case string(tok.Bytes) == "i":
		default:
			t.Errorf("%q at %v is not where the user has it, in:\n%s", tok.Bytes, at, source)
		}
	}
	if put != 2 {
		t.Errorf("%d words put in, want job and group, in:\n%s", put, source)
	}
	if _, diags := hclsyntax.ParseConfig([]byte(source), "a.hcl", hcl.Pos{Line: 1, Column: 1}); diags.HasErrors() {
		t.Errorf("%v in:\n%s", diags, source)
	}
}

func TestParseErrors(t *testing.T) {
	src := "service \"a\" {\n  # one\n  instance {\n    task \"web\" {\n    }\n  }\n}\n"
	d, _ := parseOne(t, src, jobspecs.Options{})
	for _, tt := range []struct{ name, in, want string }{
		{"wrapped", "Unexpected response code: 400 (Failed to parse job: input.hcl:4,5-9: Unsupported argument; No \"x\".)",
			"a.hcl:4,5: instance: Nomad: Unsupported argument: No \"x\".)\n"},
		{"several, out of order", "Failed to parse job: input.hcl:5,1-2: B; b\ninput.hcl:4,1-6,2: A; a",
			"a.hcl:4,1: instance: Nomad: A: a\na.hcl:5,1: instance: Nomad: B: b\n"},
		{"starred", "2 errors occurred:\n\t* input.hcl:4,1-2: A; a\n\t* input.hcl:5,1-2: B; b\n\n",
			"a.hcl:4,1: instance: Nomad: A: a\na.hcl:5,1: instance: Nomad: B: b\n"},
		{"and more", "input.hcl:4,1-2: A; a., and 2 other diagnostic(s)", "a.hcl:4,1: instance: Nomad: A: a. (and 2 more)\n"},
		{"refers to a place", "input.hcl:4,1-2: Duplicate; Previous definition was at input.hcl:3,1-4.",
			"a.hcl:4,1: instance: Nomad: Duplicate: Previous definition was at a.hcl:3,1-4.\n"},
		{"no place", "<nil>: Unset variable \"x\"; set it", "a.hcl:3,3: instance: Nomad: <nil>: Unset variable \"x\": set it\n"},
		{"a place that isn't there", "input.hcl:99,1-2: A; a", "a.hcl:3,3: instance: Nomad: a.hcl:99,1-2: A: a\n"},
		{"nothing", "", "a.hcl:3,3: instance: Nomad: refused without a reason\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := texts(d.ParseErrors(tt.in)); got != tt.want {
				t.Errorf("got:\n%swant:\n%s", got, tt.want)
			}
		})
	}
}

func TestFinish_NotWhatNomadAnswers(t *testing.T) {
	d, _ := parseOne(t, "service \"a\" {\n  instance {\n  }\n}\n", jobspecs.Options{})
	for _, in := range []string{"", "null", "[]", "{}", `{"TaskGroups":[null]}`, `{"TaskGroups":[{},{}]}`, `{"TaskGroups":[{"Tasks":[null]}]}`, `{"TaskGroups":[{"Count":"x"}]}`} {
		_, problems := d.Complete([]byte(in))
		if len(problems) != 1 || problems[0].Line != 2 || !strings.HasPrefix(problems[0].Message, "read the parsed job: ") {
			t.Errorf("Finish(%q): %s", in, texts(problems))
		}
	}
}

func TestFinish_KeepsWhatItDoesNotKnow(t *testing.T) {
	d, _ := parseOne(t, "service \"a\" {\n  instance {\n  }\n}\n", jobspecs.Options{})
	s, problems := d.Complete([]byte(`{"TaskGroups":[{"Name":"i","Future":{"A":123456789012345678},"Tasks":[{"Name":"web","New":true,"Env":null}]}]}`))
	if len(problems) > 0 {
		t.Fatal(texts(problems))
	}
	want := `{"Future":{"A":123456789012345678},"Name":"instance","Tasks":[{"Name":"web","New":true}]}`
	if got := string(s.Instance); got != want || s.ServingTask != "web" {
		t.Errorf("instance %s, serving %q, want %s", got, s.ServingTask, want)
	}
}
