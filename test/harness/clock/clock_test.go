package clock_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness/clock"
)

// TestMain is a program that tells the time for each line that it reads, if it is asked to:
// the time of day, and the monotonic time since its start.
func TestMain(m *testing.M) {
	if os.Getenv("TELL_THE_TIME") == "" {
		os.Exit(m.Run())
	}
	start := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(time.Now().Unix(), int64(time.Since(start)))
	}
}

// A process's time of day goes ahead, back, and right again, several times; its monotonic
// time goes on as ever, and the tester's clock is untouched.
func TestShift(t *testing.T) {
	cmd := exec.Command(os.Args[0]) // The end of its input ends it.
	cmd.Env = append(os.Environ(), "TELL_THE_TIME=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	t.Cleanup(func() {
		_ = in.Close() // Ends the program.
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program: %v", err)
		}
	})
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour, 40 * 24 * time.Hour, 0} {
		if err := clock.Shift(cmd.Process.Pid, offset); errors.Is(err, clock.ErrUnsupported) || errors.Is(err, os.ErrPermission) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if _, err := fmt.Fprintln(in); err != nil {
			t.Fatal(err)
		}
		var day, mono int64
		if _, err := fmt.Fscan(out, &day, &mono); err != nil {
			t.Fatal(err)
		}
		low, high := before.Add(offset).Unix(), time.Now().Add(offset).Unix()
		if day < low || day > high {
			t.Errorf("shifted by %v: got %d, want %d to %d", offset, day, low, high)
		}
		if got := time.Duration(mono); got < 0 || got > time.Since(began) {
			t.Errorf("shifted by %v: got %v since the program's start, want at most %v", offset, got, time.Since(began))
		}
	}
}
