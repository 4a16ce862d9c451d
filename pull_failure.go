package wadi

import "time"

// PullFailure is the kind of a failure to have a task's image on its node. The empty one
// is none. Package pulls tells it from the messages of drivers.
type PullFailure string

// The kinds of failures.
const (
	PullNoImage      PullFailure = "no_such_image"      // The registry has no such repository.
	PullNoTag        PullFailure = "no_such_tag"        // The repository has no such tag or digest.
	PullUnauthorised PullFailure = "not_authorised"     // The registry refuses; some answer so for a missing image too.
	PullInvalid      PullFailure = "invalid_reference"  // It is no name of an image.
	PullArchitecture PullFailure = "wrong_architecture" // It is not made for the node's architecture.
	PullTooMany      PullFailure = "too_many_requests"  // The registry limits how often it is asked.
	PullAway         PullFailure = "registry_away"      // The registry can't be reached, or answers with an error of its own.
	PullTimeout      PullFailure = "registry_timeout"   // The registry is too slow.
	PullTLS          PullFailure = "registry_tls"       // The node does not trust the registry's certificate, or one side speaks no TLS.
	PullDiskFull     PullFailure = "disk_full"          // The node's disk is full.
	PullCorrupt      PullFailure = "corrupt_image"      // What the registry gives is not what the image names.
	PullEngineAway   PullFailure = "engine_away"        // The node's container engine does not answer.
	PullNotLoaded    PullFailure = "not_loaded"         // Its name is of no registry, and the node does not have it.
	PullOther        PullFailure = "pull_failed"        // Any other reason.
)

// pullFailures say what each kind means.
var pullFailures = map[PullFailure]struct {
	hopeless     bool
	text, remedy string
}{
	PullNoImage:      {true, "no such image", "push it, or correct the task's image"},
	PullNoTag:        {true, "no such tag or digest", "push it, or correct the task's image"},
	PullUnauthorised: {true, "not authorised, or no such image", "give the nodes' engine or Nomad's docker plugin the registry's credentials, or correct the task's image"},
	PullInvalid:      {true, "that is no name of an image", "correct the task's image"},
	PullArchitecture: {true, "not made for the node's architecture", "push it for that architecture too, or constrain the service to other nodes"},
	PullTooMany:      {false, "too many requests", "it is tried again, less and less often; credentials or a mirror raise the registry's limit"},
	PullAway:         {false, "the registry is away", "it is tried again; check the registry, and the nodes' way to it"},
	PullTimeout:      {false, "the registry is too slow", "it is tried again; check the registry, and the nodes' way to it"},
	PullTLS:          {false, "no TLS between node and registry", "have the nodes' engine trust the registry's certificate, or list it as insecure"},
	PullDiskFull:     {false, "the node's disk is full", "free space where the node's engine keeps its images"},
	PullCorrupt:      {false, "the registry gave something else than the image", "push it again"},
	PullEngineAway:   {false, "the node's container engine does not answer", "start it on that node"},
	PullNotLoaded:    {true, "not on the node, and its name is of no registry", "load it into the engine of each node, as make dev-images does that of hello-docker.hcl, or name a registry that has it"},
	PullOther:        {false, "the pull failed", "see the message"},
}

// PullPausedError is an [ErrUnplaceable]: no instance is started for a time, because the
// last ones could not have an image.
type PullPausedError struct {
	Kind   PullFailure
	Reason string // In words, with what Nomad says: it names image and registry.
	For    time.Duration
}

// Error implements error.
func (e *PullPausedError) Error() string { return ErrUnplaceable.Error() + ": " + e.Reason }

// Unwrap returns ErrUnplaceable.
func (e *PullPausedError) Unwrap() error { return ErrUnplaceable }

// PullFailures are all kinds, for tables.
func PullFailures() []PullFailure {
	return []PullFailure{
		PullNoImage, PullNoTag, PullUnauthorised, PullInvalid, PullArchitecture, PullTooMany, PullAway, PullTimeout, PullTLS,
		PullDiskFull, PullCorrupt, PullEngineAway, PullNotLoaded, PullOther,
	}
}

// Hopeless reports whether only a person can help: asking again gives the same answer. The
// other failures may pass by themselves.
func (p PullFailure) Hopeless() bool { return pullFailures[p].hopeless }

// String is the kind in words for people; they name neither image nor registry, and are
// for any caller.
func (p PullFailure) String() string { return pullFailures[p].text }

// Remedy is what to do about it.
func (p PullFailure) Remedy() string { return pullFailures[p].remedy }
