package control

import (
	"fmt"
	"sync"
	"testing"
)

// What was submitted at one moment is read in one pass: a new leader has all services then.
func TestInbox_AllInOnePass(t *testing.T) {
	var i inbox
	i.init()
	names := make([]string, 10_000)
	for n := range names {
		names[n] = fmt.Sprint(n)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { i.submitted(names) })
	for taken := 0; taken == 0; {
		dirty, _ := i.take()
		if taken = len(dirty); taken != 0 && taken != len(names) {
			t.Errorf("a pass takes %d of %d", taken, len(names))
		}
	}
}
