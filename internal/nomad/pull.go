package nomad

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/pulls"
)

// pullEvents is what the events of an instance's tasks say about its images. Times are in
// Unix nanoseconds, by the node's clock; 0: there is none.
type pullEvents struct {
	received     int64 // When the node got the instance.
	began, ended int64 // The first pull's begin, and the last one's end.
	ongoing      bool
	failure      wadi.PullFailure // Why a task lacks its image.
	failedAt     int64            // When the last try of any failed, even if another succeeded since.
}

// pullsOf reads the events of all tasks.
func pullsOf(states map[string]*api.TaskState) (p pullEvents) {
	latest := int64(0) // Of the failures that stand.
	for _, s := range states {
		if s == nil {
			continue
		}
		t := taskPulls(s.Events)
		p.received, p.began = firstOf(p.received, t.received), firstOf(p.began, t.began)
		p.ended, p.failedAt = max(p.ended, t.ended), max(p.failedAt, t.failedAt)
		p.ongoing = p.ongoing || t.ongoing
		if t.failure != "" && t.failedAt > latest {
			p.failure, latest = t.failure, t.failedAt
		}
	}
	return p
}

// taskPulls reads the events of one task, of which Nomad keeps ten. A pull lasts from the
// driver's message to the next event that is not the driver's.
func taskPulls(events []*api.TaskEvent) (p pullEvents) {
	for _, e := range events {
		if e.Type == api.TaskReceived {
			p.received = e.Time
		}
		if e.Type == api.TaskDriverMessage {
			if isPull(e) {
				p.began, p.ongoing = firstOf(p.began, e.Time), true
			}
			continue
		}
		if p.ongoing {
			p.ongoing, p.ended = false, e.Time
		}
		switch e.Type {
		case api.TaskStarted:
			p.failure = ""
		case api.TaskDriverFailure:
			if p.failure = pulls.Classify(message(e)); p.failure != "" {
				p.failedAt = e.Time
			}
		}
	}
	return p
}

// isPull reports whether a driver's message says that it begins to pull an image: Docker's
// and Podman's.
func isPull(e *api.TaskEvent) bool {
	m := message(e)
	return strings.HasPrefix(m, "Downloading image") || strings.HasPrefix(m, "Pulling image ")
}

// after is p of an instance of which earlier events told before: Nomad may have dropped
// those since.
func (p pullEvents) after(before pullEvents) pullEvents {
	p.received, p.began = firstOf(before.received, p.received), firstOf(before.began, p.began)
	p.ended, p.failedAt = max(p.ended, before.ended), max(p.failedAt, before.failedAt)
	return p
}

// time is when images were pulled.
func (p pullEvents) time() wadi.PullTime {
	if p.began == 0 {
		return wadi.PullTime{}
	}
	t := wadi.PullTime{After: time.Duration(max(0, p.began-firstOf(p.received, p.began))), Ongoing: p.ongoing}
	if !p.ongoing {
		t.Took = time.Duration(max(0, p.ended-p.began))
	}
	return t
}

// firstOf is the earlier of two times; 0 is none.
func firstOf(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// inWords is a driver's message; with the kind of the failure and its remedy if an image
// could not be had.
func inWords(message string) string {
	kind := pulls.Classify(message)
	if kind == "" {
		return message
	}
	return fmt.Sprintf("%s: %s (%s)", kind, kind.Remedy(), strings.Replace(message, "Error response from daemon: ", "", 1))
}

// lacksImage reports whether the last thing that kept a task from running was its image.
func lacksImage(events []*api.TaskEvent) bool {
	for _, e := range slices.Backward(events) {
		switch e.Type {
		case api.TaskDriverFailure:
			return pulls.Classify(message(e)) != ""
		case api.TaskStarted, api.TaskTerminated:
			return false
		}
	}
	return false
}
