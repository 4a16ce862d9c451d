package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi/scheduler/simulate"
)

// barWidth is the length of the longest bar.
const barWidth = 20

// printRows shows the settings side by side: instances as a bar, starting ones in another
// shade.
func (c *call) printRows(name string, settings []setting, rows [][]simulate.Row) {
	header := []string{"Time", "Load"}
	most := 1
	for i, s := range settings {
		header = append(header, s.name, "Ready", "Waiting", "Refused")
		for _, r := range rows[i] {
			most = max(most, r.Desired)
		}
	}
	header = append(header, "Why")
	var lines [][]string
	for n := range rows[0] {
		line := []string{clock(rows[0][n].Seconds), short(rows[0][n].Load)}
		for i := range settings {
			r := rows[i][n]
			line = append(line, bar(r, most), count(r), strconv.Itoa(r.Waiting), strconv.Itoa(r.Refused))
		}
		lines = append(lines, append(line, rows[0][n].DecidedBy))
	}
	c.printf("%s\n", name)
	c.table(-1, header, lines)
	c.printf("\n")
}

func bar(r simulate.Row, most int) string {
	length := func(n int) int { return (n*barWidth + most - 1) / most }
	all := length(r.Desired)
	ready := min(all, length(r.Ready))
	return strings.Repeat("█", ready) + strings.Repeat("░", all-ready) + strings.Repeat(" ", barWidth-all)
}

func count(r simulate.Row) string {
	if r.Starting == 0 {
		return strconv.Itoa(r.Ready)
	}
	return fmt.Sprintf("%d+%d", r.Ready, r.Starting)
}

// printTotals shows the result of each load under each setting.
func (c *call) printTotals(all []totals) {
	var rows [][]string
	for _, t := range all {
		rows = append(rows, []string{
			t.Load, t.Setting, strconv.Itoa(t.Totals.Requests), strconv.Itoa(t.Totals.Refused), strconv.Itoa(t.Totals.Late),
			t.Totals.LongestWait.Round(10 * time.Millisecond).String(), strconv.Itoa(int(math.Round(t.Totals.InstanceSeconds))),
			strconv.Itoa(t.Totals.Peak), strconv.Itoa(t.Totals.Changes),
		})
	}
	c.table(-1, []string{"Load", "Setting", "Requests", "Refused", "Late", "Longest wait", "Instance-seconds", "Peak", "Changes"}, rows)
}

// clock writes seconds as minutes and seconds.
func clock(seconds float64) string {
	s := int(seconds)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func short(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }
