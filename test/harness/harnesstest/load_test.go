package harnesstest_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

func TestStartWorkers_CountsWhatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		l := harnesstest.StartWorkers(t, 2, time.Second, func(context.Context) (string, error) {
			switch n.Add(1) % 3 {
			case 0:
				return "hello (instance a)\n", nil
			case 1:
				return "hello (instance b)\n", nil
			}
			return "", errors.New("no")
		})
		time.Sleep(14*time.Second + time.Second/2) // 15 rounds of two.
		l.Stop()
		if good, failed := l.Count(); good != 20 || failed != 10 {
			t.Errorf("got %d good and %d failed, want 20 and 10", good, failed)
		}
		if got, others := l.Answers("hello"); got != 20 || others != 0 {
			t.Errorf("got %d answers hello and %d others, want 20 and none", got, others)
		}
		if got := l.Instances(); got != 2 {
			t.Errorf("got %d instances, want 2", got)
		}
		if got := l.String(); !strings.Contains(got, `; 20 × "hello"`) || !strings.Contains(got, ": no") {
			t.Errorf("got %s", got)
		}
	})
}

// A load sends on while answers are missing, up to its bound, and Stop waits for them.
func TestStartLoad_SendsOnWhileAnswersAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := harnesstest.StartLoad(t, time.Second, 3, func(context.Context) (string, error) {
			time.Sleep(20 * time.Second)
			return "late", nil
		})
		time.Sleep(11*time.Second + time.Second/2)
		if got := l.String(); !strings.Contains(got, "0 good, 0 failed, 9 not sent") {
			t.Errorf("got %s, want 3 of 12 sent", got)
		}
		l.Stop()
		if got, _ := l.Answers("late"); got != 3 {
			t.Errorf("got %d answers, want those 3", got)
		}
	})
}

// A load that is to have come to a number of good answers goes on until it has.
func TestLoad_WaitsForNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		send := func(context.Context) (string, error) {
			if n.Add(1) <= 5 {
				return "", errors.New("no")
			}
			return "good", nil
		}
		l := harnesstest.StartWorkers(t, 1, time.Second, send)
		l.WaitRow(t, 10)
		l.Stop()
		if good, failed := l.Count(); good < 10 || failed != 5 {
			t.Errorf("got %d good and %d failed, want 10 and 5", good, failed)
		}
		l = harnesstest.StartWorkers(t, 1, time.Second, send)
		l.WantAll(t, 30)
		if good, _ := l.Count(); good < 30 {
			t.Errorf("got %d good, want 30", good)
		}
	})
}
