package convert_test

import (
	"testing"

	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/jobspecs/convert"
)

// Whatever the source is, there is a result with valid syntax, or a reason why not.
func FuzzConvert(f *testing.F) {
	for _, path := range sources(f) {
		src := read(f, path)
		f.Add(src.Name, src.Source)
	}
	f.Fuzz(func(t *testing.T, name string, source []byte) {
		got, problems := convert.Convert(jobspecs.File{Name: name, Source: source})
		if len(got.HCL) == 0 {
			if len(problems) == 0 {
				t.Error("no result, and no reason")
			}
			return
		}
		if _, broken := jobspecs.Format(got.HCL); len(broken) > 0 {
			t.Errorf("%v in\n%s", broken, got.HCL)
		}
	})
}
