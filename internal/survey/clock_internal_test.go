package survey

import (
	"testing"
	"time"
)

// A clock that agrees is never called wrong, in whichever part of a second it is read.
func TestOffsetOfDate_InStep(t *testing.T) {
	for part := time.Duration(0); part < time.Second; part += 99 * time.Millisecond {
		now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Add(part)
		if o := offsetOfDate(now.Truncate(time.Second), now, now); o.Low > 0 || o.High < 0 || o.Beyond(0) != 0 {
			t.Errorf("%v: got %+v", part, o)
		}
	}
	if o := offsetOfDate(time.Time{}, time.Now(), time.Now()); o.Known {
		t.Errorf("without a header: got %+v", o)
	}
}
