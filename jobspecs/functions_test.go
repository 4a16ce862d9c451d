package jobspecs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// evaluate evaluates an expression in a setting of a service and returns its value, or the
// error.
func evaluate(expr string) (value string, problems []wadi.Problem) {
	src := fmt.Sprintf("locals {\n  x = %s\n}\nservice \"a\" {\n  instance {}\n  meta = { value = local.x }\n}\n", expr)
	drafts, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, jobspecs.Options{})
	if len(drafts) == 1 {
		value = drafts[0].Service.Meta["value"]
	}
	return value, problems
}

// Outside of the instance block functions are Nomad's.
func TestParse_Functions(t *testing.T) {
	for expr, want := range map[string]string{
		`sha256("a")`:                      "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
		`sha1("a")`:                        "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8",
		`md5("a")`:                         "0cc175b9c0f1b6a831c399e269772661",
		`base64encode("a b")`:              "YSBi",
		`base64decode("YSBi")`:             "a b",
		`urlencode("a b")`:                 "a+b",
		`yamlencode({ a = [1, true] })`:    "\"a\":\n- 1\n- true\n",
		`yamldecode("a: [1, 2]").a[1]`:     "2",
		`cidrhost("10.1.0.0/16", 5)`:       "10.1.0.5",
		`cidrnetmask("10.1.0.0/16")`:       "255.255.0.0",
		`cidrsubnet("10.1.0.0/16", 8, 2)`:  "10.1.2.0/24",
		`cidrsubnets("10.1.0.0/16", 8)[0]`: "10.1.0.0/24",
		`uuidv5("dns", "example.com")`:     "cfbff0d1-9375-5685-968c-48ce8b15ae17",
		`strrev("abc")`:                    "cba",
		`reverse("abc")`:                   "cba",
		`try(nosuch.thing, "else")`:        "else",
	} {
		if got, problems := evaluate(expr); got != want || len(problems) > 0 {
			t.Errorf("%s: got %q, problems %v; want %q", expr, got, problems, want)
		}
	}
}

// Functions that read files, or give another value each time, explain what to do instead.
func TestParse_FunctionsRefused(t *testing.T) {
	for expr, want := range map[string]string{
		`file("/etc/passwd")`: "reads files",
		`fileset(".", "*")`:   "reads files",
		`uuidv4()`:            "another value each time",
		`bcrypt("a", 31)`:     "another value each time",
		`nosuch("a")`:         "There is no function named",
	} {
		got, problems := evaluate(expr)
		if len(problems) != 1 || !strings.Contains(problems[0].Message, want) || problems[0].Line != 2 || got != "" {
			t.Errorf("%s: got %q, problems %v; want one at line 2 that says %q", expr, got, problems, want)
		}
	}
}
