package activator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// How soon a retry may be worth it.
const (
	retrySoon  = time.Second      // The queue is shorter, or another agent takes the request.
	retryLater = 10 * time.Second // Something in the cluster has to change.
)

func unknownRevision(service, revision string) Refusal {
	return Refusal{Status: http.StatusNotFound, Code: CodeNoRevision,
		Message: fmt.Sprintf("no revision %q of service %q is served here", revision, service)}
}

// isDeleted is the answer while a deleted service's instances end: it is known to be gone.
func isDeleted(service string) Refusal {
	return Refusal{Status: http.StatusNotFound, Code: CodeNoRevision, Message: fmt.Sprintf("service %s is deleted", service)}
}

// noTarget and notYetKnown are answers to mesh callers whose Envoys may not know yet of a
// new service, or of the end of one. That is over soon, so the status is not 404.
func noTarget() Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeNoRevision, RetryAfter: retrySoon,
		Message: "the request names no service and revision: the caller's Envoy has no route to it yet, or the activator was called by its own name instead of a service's"}
}

func noSuchRoute(service, name string) Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeNoRevision, RetryAfter: retrySoon,
		Message: fmt.Sprintf("service %q has no redirect %q here: it is gone, or this agent does not know it yet", service, name)}
}

func notYetKnown(service, revision string) Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeNoRevision, RetryAfter: retrySoon,
		Message: fmt.Sprintf("no revision %q of service %q is served here: it is gone, or this agent does not know it yet", revision, service)}
}

func deadlineReached(timeout wadi.Duration) Refusal {
	return Refusal{Status: http.StatusGatewayTimeout, Code: CodeRequestTimeout,
		Message: fmt.Sprintf("the request took longer than %s", timeout)}
}

// queueTimeout is the answer to a request whose wait has expired. If instances are ready,
// each has as many requests as its limit allows.
func queueTimeout(revision string, timeout wadi.Duration, ready int, unready string) Refusal {
	why := wadi.ErrQueueTimeout.Error()
	if unready != "" {
		why += " (" + unready + ")"
	}
	if ready > 0 {
		why = fmt.Sprintf("every ready instance (%d) had as many requests as it takes at once", ready)
	}
	return Refusal{Status: http.StatusGatewayTimeout, Code: CodeQueueTimeout, RetryAfter: retrySoon,
		Message: fmt.Sprintf("%s: waited %s for %s", why, timeout, revision)}
}

func depthReached(revision string, depth int) Refusal {
	return queueFull("as many requests wait for %s as may: %d", revision, depth)
}

// notWoken is the answer to a request whose wait has expired because the wakes failed.
// The error itself is for the log: it may name addresses.
func notWoken(revision string, err error) Refusal {
	why := "the agent's log says why"
	switch {
	case errors.Is(err, wadi.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		why = "Nomad doesn't answer"
	case errors.Is(err, wadi.ErrForbidden):
		why = "this agent may not do that in Nomad"
	case errors.Is(err, wadi.ErrConflict):
		why = "its Nomad job is changed by others all the time"
	}
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeNotWoken, RetryAfter: retryLater,
		Message: fmt.Sprintf("%s can't be woken: %s", revision, why)}
}

// unplaceable returns the answer for a Waker's error that means that the revision can't
// run.
func unplaceable(revision string, err error) (Refusal, bool) {
	var paused *wadi.PullPausedError
	if errors.As(err, &paused) {
		f := cantRun(revision, paused.Reason, paused.Kind)
		f.RetryAfter = max(paused.For, time.Second)
		return f, true
	}
	if !errors.Is(err, wadi.ErrUnplaceable) {
		return Refusal{}, false
	}
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeUnplaceable, RetryAfter: retryLater, Message: err.Error()}, true
}

// cantRun is the answer where Nomad can't run an instance, or its task ends. The reason of
// Nomad and its drivers names images, registries and paths: callers from outside the mesh
// get its kind only.
func cantRun(revision, reason string, pull wadi.PullFailure) Refusal {
	kind := "its task does not start, or has ended"
	switch {
	case pull != "":
		kind = "an image of it can't be had: " + pull.String()
	case strings.HasPrefix(reason, "no node fits"):
		kind = "no node has a place for it"
	}
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeUnplaceable, RetryAfter: retryLater,
		Message: fmt.Sprintf("%v: %s; %s", wadi.ErrUnplaceable, kind, findBy(revision, reason)),
		Inside:  fmt.Sprintf("%v: %s", wadi.ErrUnplaceable, reason)}
}

// findBy says where the whole reason is found.
func findBy(revision, reason string) string {
	return "wadi events says why, under " + wadi.ReasonID(revision, reason)
}

func badBody(err error) Refusal {
	return Refusal{Status: http.StatusBadRequest, Code: CodeBadBody, Message: "the request's body can't be read: " + err.Error()}
}

func hasFailed(revision, why string) Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeFailed, RetryAfter: retryLater,
		Message: fmt.Sprintf("revision %s has failed; %s", revision, findBy(revision, why)),
		Inside:  fmt.Sprintf("revision %s has failed: %s", revision, why)}
}

func queueFull(format string, args ...any) Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeQueueFull, RetryAfter: retrySoon,
		Message: wadi.ErrQueueFull.Error() + ": " + fmt.Sprintf(format, args...)}
}

func shuttingDown() Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeShutdown, RetryAfter: retrySoon, Message: "this agent is stopping"}
}

func clientGone() Refusal {
	return Refusal{Status: statusClientGone, Code: CodeClientGone, Message: "the client has gone"}
}

func atZero() Refusal {
	return Refusal{Status: http.StatusServiceUnavailable, Code: CodeQuiet, Message: "no instance runs, and this path does not wake one"}
}

func instanceFailed(why string) Refusal {
	return Refusal{Status: http.StatusBadGateway, Code: CodeUpstream, Message: why}
}
