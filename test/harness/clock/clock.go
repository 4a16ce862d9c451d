// Package clock sets the clock of a running process, for tests: what it takes for the time
// of day, and nothing else on the machine.
//
// A Go program asks the vDSO for the time, a page of code that the kernel maps into each
// process. A process's own copy of that page is written to, as a debugger does for a
// breakpoint, so that the time of day gets an offset there. The monotonic clock, and so
// timers and measured durations, stay as they are: as when an administrator sets the clock.
//
// It refuses to touch the program under test: it has no variable or flag for this.
package clock

import "errors"

// ErrUnsupported: this system's clock can't be set for a process.
var ErrUnsupported = errors.New("the clock of a process can't be set on this system")
