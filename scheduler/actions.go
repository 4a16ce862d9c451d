package scheduler

import "github.com/wadi-run/wadi"

// ActionKind says what an action does.
type ActionKind string

// The actions of the controller.
const (
	NoteStart      ActionKind = "note-start"      // Remember that the revision's last start failed for Reason; empty: it succeeded.
	EndPrefetch    ActionKind = "end-prefetch"    // Remember that the revision waits no longer for its images, for Reason.
	SetPhase       ActionKind = "set-phase"       // Remember that the revision is in Phase, for Reason.
	Reject         ActionKind = "reject"          // Remember that the revision is not to be "latest", for Reason; empty: it may be again.
	SetRollout     ActionKind = "set-rollout"     // Remember Rollout. Reason says what happened, for people; empty: nothing that concerns them.
	PutRoute       ActionKind = "put-route"       // Store Route for every agent.
	Program        ActionKind = "program"         // Make the network layers carry the stored route.
	PutBack        ActionKind = "put-back"        // Register the stored job with Count, guarded by Index.
	CheckDrift     ActionKind = "check-drift"     // Ask Nomad's plan whether the job is still as it was stored. The answer comes as a Check.
	UndoDrift      ActionKind = "undo-drift"      // Register the stored job with Count over one that is not, guarded by Index.
	StopJob        ActionKind = "stop-job"        // Let its instances drain, if the job is still at Index. Nomad forgets those of a purged job at once, so this comes before.
	PurgeJob       ActionKind = "purge-job"       // Make Nomad forget a job without instances, if it is still at Index.
	ForgetRevision ActionKind = "forget-revision" // Remove a revision from the store.
	Unprogram      ActionKind = "unprogram"       // Remove the service from the network layers.
	ForgetService  ActionKind = "forget-service"  // Remove the service from the store.
)

// Action is one step towards the desired state. Steps are executed in order. A step that
// fails ends the pass, and the next pass plans anew.
type Action struct {
	Kind     ActionKind
	Revision string
	Phase    wadi.Phase
	Count    int
	Index    uint64
	Reason   string
	Route    wadi.Route
	Rollout  *wadi.RolloutState
	Noted    bool // Reason is for the history of the job in Nomad, too, which has room for few.
}
