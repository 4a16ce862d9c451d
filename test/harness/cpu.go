package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ClockTick is the unit of CPU time in /proc; Linux reports 100 Hz to every program.
const ClockTick = 10 * time.Millisecond

// CPUTime is the CPU time that a process has used.
func CPUTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	_, after, _ := strings.Cut(string(b), ") ") // The name may contain spaces.
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0, fmt.Errorf("read CPU time of %d: short line", pid)
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("read CPU time of %d: %q", pid, f)
	}
	return time.Duration(user+system) * ClockTick, nil
}
