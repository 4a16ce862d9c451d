//go:build e2e

package matrix

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ledgerOf is what apps wrote, read back.
func ledgerOf(t *testing.T, lines ...string) map[uint64][]entry {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := readLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// The invariants see what they are for.
func TestInvariants_SeeWhatIsWrong(t *testing.T) {
	entries := ledgerOf(t, "B 10 one 1", "B 20 two 2", "E 30 one 1", "B 40 one 2", "E 50 one 2", "B 60 one 4")
	good := Result{Number: 1, Method: "POST", Status: 200, OK: true}
	twice := Result{Number: 2, Method: "POST", Status: 502}
	unseen := Result{Number: 3, Method: "GET", Status: 200, OK: true}
	foreign := Result{Number: 4, Method: "GET", Status: 200}
	for _, tt := range []struct {
		name    string
		err     error
		isWrong bool
	}{
		{"a good answer", NothingLost([]Result{good}, entries), false},
		{"an answer that no app has given", NothingLost([]Result{unseen}, entries), true},
		{"another's answer", NothingLost([]Result{foreign}, entries), true},
		{"a call that ran once", OnceOnly([]Result{good}, entries), false},
		{"a call that ran twice", OnceOnly([]Result{twice}, entries), true},
		{"a repeatable call that ran twice", OnceOnly([]Result{{Number: 2, Method: "GET"}}, entries), false},
		{"stopped before it had a request", stoppedBusy("a", time.Unix(0, 5), entries[1]), false},
		{"stopped with a request", stoppedBusy("a", time.Unix(0, 25), entries[1]), true},
		{"stopped after it", stoppedBusy("a", time.Unix(0, 35), entries[1]), false},
		{"stopped with a request that never ended", stoppedBusy("a", time.Unix(0, 70), entries[4]), true},
	} {
		if got := tt.err != nil; got != tt.isWrong {
			t.Errorf("%s: got error %v", tt.name, tt.err)
		}
	}
}

// Only what the fault allows may fail, and what callers saw is kept once.
func TestJudge_AllowsOnlyWhatTheFaultSays(t *testing.T) {
	at := time.Unix(100, 0)
	w := &World{Hit: Hit{Agent: "wadi-1", Began: at.Add(-100 * time.Millisecond), Broken: at}}
	f := Fault{Allowed: []Allowed{inFlightAtAgent}}
	before, after := at.Add(-time.Second), at.Add(time.Second)
	allowed := Result{Number: 1, Via: "wadi-1", Began: before, Ended: after, Err: "EOF"}
	for _, r := range []Result{
		{Number: 2, Via: "wadi-2", Began: before, Ended: after, Err: "EOF"},
		{Number: 3, Via: "wadi-1", Began: after, Ended: after, Err: "EOF"},
		{Number: 4, Via: "wadi-1", Began: before, Ended: after, Status: 503},
		{Number: 6, Via: ViaMesh, Began: before, Ended: before, Status: 503},
	} {
		var row Row
		if err := w.judge(f, &row, []Result{allowed, r}, nil); err == nil || strings.Contains(err.Error(), "#1 ") {
			t.Errorf("got %v, want an error about %v alone", err, r)
		}
	}
	var row Row
	ok := Result{Number: 5, OK: true, Began: before, Ended: after}
	if err := w.judge(f, &row, []Result{allowed, allowed, ok}, nil); err != nil || row.Sent != 3 || row.Failed != 2 || row.Answered != 1 || row.Slowest != 2*time.Second || len(row.Saw.Answers) != 1 {
		t.Errorf("got %v, row %+v", err, row)
	}
}

// A page that was written has the rows of its faults, and can be written again.
func TestWrite(t *testing.T) {
	page := "before\n" + pageBegin + "\n" + pageEnd + "\nafter\n"
	rows := []Row{
		{Fault: Fault{Name: "one", Group: GroupAgents, Promise: "p"}, Sent: 3, Saw: Saw{Answers: []string{"a | b <c>"}}},
		{Fault: Fault{Name: "two", Group: GroupServices, Promise: "p"}, Sent: 4},
	}
	faults := []Fault{rows[0].Fault, rows[1].Fault}
	once, err := Write(page, faults, rows, []string{"p"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Write(once, faults, rows[:1], []string{"p"}) // The other row stays.
	if err != nil || again != once {
		t.Errorf("written again it is another page (%v):\n%s", err, again)
	}
	if got := pageRows(once); len(got) != 2 || got["one"] == "" || got["two"] == "" {
		t.Errorf("got the rows %q in\n%s", got, once)
	}
	for _, want := range []string{"before\n", "\nafter\n", `callers: a \| b &lt;c>`, "| p | one; two |  |"} {
		if !strings.Contains(once, want) {
			t.Errorf("%q is missing in\n%s", want, once)
		}
	}
	if _, err := Write("no marks", faults, rows, nil); err == nil {
		t.Error("a page without the marks was written")
	}
}
