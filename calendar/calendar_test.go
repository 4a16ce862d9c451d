package calendar_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
)

func schedule(name, cron, zone string, d time.Duration, n int) wadi.Schedule {
	return wadi.Schedule{Name: name, Cron: cron, Timezone: zone, Duration: wadi.Duration(d), Min: n}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestAt(t *testing.T) {
	berlin := "Europe/Berlin"
	office := schedule("office", "0 8 * * mon-fri", berlin, 10*time.Hour, 2)
	for _, tt := range []struct {
		name string
		list []wadi.Schedule
		now  string
		want string // Name and when it ends; empty: none.
	}{
		{"before", []wadi.Schedule{office}, "2026-11-23T06:59:59Z", ""},
		{"from its first moment", []wadi.Schedule{office}, "2026-11-23T07:00:00Z", "office until 2026-11-23T17:00:00Z"},
		{"to its last", []wadi.Schedule{office}, "2026-11-23T16:59:59.999Z", "office until 2026-11-23T17:00:00Z"},
		{"no longer", []wadi.Schedule{office}, "2026-11-23T17:00:00Z", ""},
		{"not on Sunday", []wadi.Schedule{office}, "2026-11-22T10:00:00Z", ""},
		{"in summer time", []wadi.Schedule{office}, "2026-07-01T06:00:00Z", "office until 2026-07-01T16:00:00Z"},
		{"over midnight", []wadi.Schedule{schedule("night", "0 22 * * *", berlin, 8*time.Hour, 1)}, "2026-11-23T04:59:00Z", "night until 2026-11-23T05:00:00Z"},
		{"an hour that is skipped does not begin", []wadi.Schedule{schedule("early", "30 2 * * *", berlin, 2*time.Hour, 1)}, "2026-03-29T02:00:00Z", ""},
		{"an hour that comes twice", []wadi.Schedule{schedule("early", "30 2 25 10 *", berlin, 90*time.Minute, 1)}, "2026-10-25T02:00:00Z", "early until 2026-10-25T03:00:00Z"},
		{"begins again before it ends", []wadi.Schedule{schedule("hourly", "0 8-10 * * *", "UTC", time.Hour, 1)}, "2026-11-23T08:30:00Z", "hourly until 2026-11-23T11:00:00Z"},
		{"the highest", []wadi.Schedule{office, schedule("rush", "0 9 * * *", berlin, time.Hour, 5)}, "2026-11-23T08:30:00Z", "rush until 2026-11-23T09:00:00Z"},
		{"of equal ones the longer", []wadi.Schedule{schedule("rush", "0 9 * * *", berlin, time.Hour, 2), office}, "2026-11-23T08:30:00Z", "office until 2026-11-23T17:00:00Z"},
		{"a word", []wadi.Schedule{schedule("day", "@daily", "", time.Hour, 1)}, "2026-11-23T00:30:00Z", "day until 2026-11-23T01:00:00Z"},
		{"leap day", []wadi.Schedule{schedule("leap", "0 0 29 2 *", "UTC", time.Hour, 1)}, "2028-02-29T00:30:00Z", "leap until 2028-02-29T01:00:00Z"},
		{"always", []wadi.Schedule{schedule("always", "* * * * *", "UTC", time.Hour, 1)}, "2026-11-23T00:30:10Z", "always until 2026-11-23T00:55:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := calendar.New(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if f, ok := c.At(moment(t, tt.now)); ok {
				got = f.Name + " until " + f.Until.UTC().Format(time.RFC3339)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNext(t *testing.T) {
	c, err := calendar.New([]wadi.Schedule{schedule("office", "0 8 * * mon-fri", "Europe/Berlin", time.Hour, 2), schedule("late", "0 20 * * *", "UTC", time.Hour, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Next(moment(t, "2026-11-23T07:00:00Z")), moment(t, "2026-11-23T20:00:00Z"); !got.Equal(want) {
		t.Errorf("next is %v, want %v", got, want)
	}
	var none *calendar.Calendar
	if _, ok := none.At(time.Now()); ok || !none.Next(time.Now()).IsZero() {
		t.Error("no calendar has a floor")
	}
}

func TestOf(t *testing.T) {
	a := []wadi.Schedule{schedule("a", "@daily", "", time.Hour, 1)}
	c, _ := calendar.New(a)
	b := []wadi.Schedule{a[0]}
	if !c.Of(b) {
		t.Error("the same list is another one")
	}
	b[0].Min = 2
	if c.Of(b) {
		t.Error("another list is the same one")
	}
}

// If one stored schedule is invalid, the others still count.
func TestNew_Errors(t *testing.T) {
	c, err := calendar.New([]wadi.Schedule{
		schedule("bad", "CRON_TZ=0 * * * * *", "", time.Hour, 1), schedule("zone", "@daily", "Nowhere/City", time.Hour, 9), schedule("good", "* * * * *", "UTC", time.Hour, 3),
	})
	if err == nil || !strings.Contains(err.Error(), "schedule bad: ") || !strings.Contains(err.Error(), "schedule zone: ") {
		t.Errorf("got %v", err)
	}
	if f, ok := c.At(time.Now()); !ok || f.Name != "good" {
		t.Errorf("got %+v, %v", f, ok)
	}
}

func FuzzCron(f *testing.F) {
	f.Add("0 8 * * mon-fri")
	f.Add("TZ=0")
	f.Add("*/0 * * * *")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := calendar.Cron(text); err == nil && s.Next(time.Unix(0, 0)).IsZero() {
			t.Errorf("%q never begins", text)
		}
	})
}

func BenchmarkAt(b *testing.B) {
	c, err := calendar.New([]wadi.Schedule{schedule("office", "0 8 * * mon-fri", "Europe/Berlin", 10*time.Hour, 2)})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for b.Loop() {
		c.At(now)
	}
}
