package admission_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

// An installation has a bounded number of services. Those that there are can be changed
// when it is reached, and a submission of several is taken whole or not at all.
func TestSubmit_NumberOfServices(t *testing.T) {
	b := newBench(t)
	s := admissiontest.Settings()
	s.MaxServices = 3
	b.Set(s)
	for i := range 2 {
		b.submit(t, request(spec(fmt.Sprintf("s%d", i), "/bin/a")))
	}
	_, err := b.Submit(t.Context(), request(spec("s2", "/bin/a"), spec("s3", "/bin/a")))
	if !errors.Is(err, wadi.ErrTooLarge) || !strings.Contains(err.Error(), "there would be 4 services, and limits.max_services of the agent is 3") {
		t.Errorf("got %v", err)
	}
	if names, _ := b.store.Services(t.Context()); len(names) != 2 || len(b.nomad.Jobs()) != 2 {
		t.Errorf("a refused submission left %v, %v", names, b.nomad.Jobs())
	}
	b.submit(t, request(spec("s2", "/bin/a"), spec("s0", "/bin/b")))
	if _, err := b.Submit(t.Context(), request(spec("s3", "/bin/a"))); !errors.Is(err, wadi.ErrTooLarge) {
		t.Errorf("one more: got %v", err)
	}
	b.submit(t, request(spec("s1", "/bin/c")))
}
