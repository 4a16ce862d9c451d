package admission_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/api"
)

// What a caller sends is not made into an answer many times as large: each mistake names its
// file, and a file may have a hundred.
func TestSubmit_Bounds(t *testing.T) {
	var mistakes strings.Builder
	for i := range 200 {
		fmt.Fprintf(&mistakes, "a%d = 1\n", i)
	}
	many := func(n int) (all []api.File) {
		for i := range n {
			all = append(all, api.File{Name: fmt.Sprintf("%d%s", i, strings.Repeat("x", 1000)), Source: mistakes.String()})
		}
		return all
	}
	given := func(n, size int) map[string]string {
		all := map[string]string{}
		for i := range n {
			all[fmt.Sprint(strings.Repeat("v", size), i)] = "x"
		}
		return all
	}
	hello := request(spec("hello", "/bin/a")).Files
	for name, tt := range map[string]struct {
		in     api.Submission
		status int
		text   string
	}{
		"many files":          {api.Submission{Files: many(17)}, 413, "17 files are submitted at once, at most 16 may be"},
		"the most files":      {api.Submission{Files: many(16)}, 400, "bad input"},
		"a long name":         {api.Submission{Files: []api.File{{Name: strings.Repeat("x", 1025), Source: mistakes.String()}}}, 400, "at most 1024 bytes"},
		"a name that moves":   {api.Submission{Files: []api.File{{Name: "a\x1b[2J", Source: mistakes.String()}}}, 400, "printable characters"},
		"many variables":      {api.Submission{Files: hello, Variables: given(1001, 4)}, 413, "1001 variables are given, at most 1000 may be"},
		"long variables":      {api.Submission{Files: hello, Variables: given(2, 1<<19)}, 413, "the files and variables have"},
		"unknown variables":   {api.Submission{Files: hello, Variables: given(1000, 4)}, 400, "bad input"},
		"variables and files": {api.Submission{Files: hello, Variables: given(1, 1<<20-100)}, 413, "the files and variables have"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.Submit(t.Context(), admission.Request{Submission: tt.in})
			if api.StatusOf(err) != tt.status || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %.300v with status %d, want %q with %d", err, api.StatusOf(err), tt.text, tt.status)
			}
			var refused *api.Error
			if !errors.As(err, &refused) {
				t.Fatal("no refusal")
			}
			answer, err := json.Marshal(refused)
			if err != nil {
				t.Fatal(err)
			}
			if len(answer) > 4<<20 {
				t.Errorf("the answer has %d bytes", len(answer))
			}
			b.untouched(t)
		})
	}
}
