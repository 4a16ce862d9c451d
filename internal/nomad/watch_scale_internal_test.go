package nomad

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"

	"github.com/wadi-run/wadi"
)

// Readers of thousands of services are told which of them something has happened to.
func TestWatcher_NamesTheServicesThatChanged(t *testing.T) {
	w, s := &Watcher{}, newState()
	w.init()
	for i := range 100 {
		s.job(Job{ID: wadi.RevisionID(fmt.Sprintf("s%02d", i), 1), JobModifyIndex: 1})
	}
	w.publish(s)
	if got, all := w.TakeChanged(); len(got) != 100 || all {
		t.Fatalf("took %d services (any: %v), want the 100 that appeared", len(got), all)
	}
	changed := w.Changed()
	s.allocation(allocation{ID: "i", JobID: "s07-00001", ClientStatus: "running", DesiredStatus: "run", ModifyIndex: 2})
	s.job(Job{ID: "s08-00001", JobModifyIndex: 3, Count: 1})
	w.publish(s)
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	got, all := w.TakeChanged()
	slices.Sort(got)
	if !slices.Equal(got, []string{"s07", "s08"}) || all {
		t.Errorf("took %v (any: %v), want s07 and s08", got, all)
	}
	if got, all := w.TakeChanged(); len(got) > 0 || all {
		t.Errorf("took %v (any: %v) twice", got, all)
	}
	w.notifyAll()
	if _, all := w.TakeChanged(); !all {
		t.Error("a stream that comes back may concern any service")
	}
}

// A list of very many allocations is read in pages; what changes meanwhile is news of the stream.
func TestAllocations_InPages(t *testing.T) {
	for _, tt := range []struct {
		count, pages int
		lost         bool // Something on the way drops Nomad's header.
	}{{0, 1, false}, {999, 1, false}, {1000, 2, false}, {2500, 3, false}, {2500, 2, true}} {
		t.Run(fmt.Sprintf("%d, header lost %v", tt.count, tt.lost), func(t *testing.T) { allocationsInPages(t, tt.count, tt.pages, tt.lost) })
	}
}

func allocationsInPages(t *testing.T, count, want int, lost bool) {
	pages := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		from, _ := strconv.Atoi(q.Get("next_token"))
		size, err := strconv.Atoi(q.Get("per_page"))
		if err != nil {
			size = count // All at once.
		}
		if q.Get("resources") != "true" || q.Get("filter") == "" {
			t.Errorf("asked for %v", q)
		}
		pages++
		to := min(count, from+size)
		if to < count && !lost {
			w.Header().Set("X-Nomad-NextToken", strconv.Itoa(to))
		}
		w.Header().Set("X-Nomad-Index", strconv.Itoa(100+pages))
		w.Header().Set("X-Nomad-LastContact", "0")
		w.Header().Set("X-Nomad-KnownLeader", "true")
		fmt.Fprint(w, "[")
		for i := from; i < to; i++ {
			fmt.Fprintf(w, `%s{"ID":"%d"}`, map[bool]string{true: ","}[i > from], i)
		}
		fmt.Fprint(w, "]")
	}))
	t.Cleanup(srv.Close)
	c, err := New(Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	all, index, err := c.allocations(t.Context(), everywhere)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != count || pages != want || count > 0 && all[count-1].ID != strconv.Itoa(count-1) {
		t.Errorf("got %d allocations in %d pages, want %d in %d", len(all), pages, count, want)
	}
	first := uint64(101)
	if count%allocationsPage == 0 && count > 0 || lost {
		first++ // Read anew.
	}
	if index != first {
		t.Errorf("the index is %d, want that of the first page, %d: later changes are news", index, first)
	}
}
