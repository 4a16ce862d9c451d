package api

import (
	"time"

	"github.com/wadi-run/wadi"
)

// The wire format of the API: agents answer with these types, and clients decode them.
// What is stored as well as shown has its type in package wadi: a [wadi.Status], a
// [wadi.Route], a [wadi.Revision], a [wadi.Decision] and a [wadi.Event].

// File is one file of a submission. Its name is used in messages only.
type File struct {
	Name   string `json:"name"`
	Source string `json:"source"`
}

// Submission is the body of PUT /v1/services, and of POST /v1/services/validate and
// /v1/services/plan.
type Submission struct {
	Files     []File            `json:"files"`
	Variables map[string]string `json:"variables,omitempty"`

	// CheckIndex holds, for the services it names, the index that must be
	// stored; 0: the service must not exist.
	CheckIndex map[string]uint64 `json:"check_index,omitempty"`
}

// Submitted is the outcome of a submission, or of its validation.
type Submitted struct {
	Services []SubmittedService `json:"services"`
	Warnings []wadi.Problem     `json:"warnings,omitempty"`
}

// SubmittedService is the outcome for one service.
type SubmittedService struct {
	Name        string   `json:"name"`
	Index       uint64   `json:"index"` // For a later CheckIndex; of a validation the present one, 0 for a new service.
	Generation  uint64   `json:"generation"`
	Revision    string   `json:"revision"`          // The newest.
	NewRevision bool     `json:"new_revision"`      // Made by this submission.
	Changed     bool     `json:"changed"`           // False: the service is as it was stored before.
	Retried     []string `json:"retried,omitempty"` // Revisions that had failed and are tried again.
	Warnings    []string `json:"warnings,omitempty"`

	Moved []wadi.MovedImage `json:"moved,omitempty"` // Images whose tags mean another digest than in the revision before.
}

// ServiceSummary is one element of GET /v1/services.
type ServiceSummary struct {
	Name       string              `json:"name"`
	Namespace  string              `json:"namespace"`
	Phase      string              `json:"phase"`
	URL        string              `json:"url,omitempty"`
	Latest     string              `json:"latest"`            // ID of the newest revision.
	Traffic    []wadi.TargetStatus `json:"traffic,omitempty"` // Where requests go now.
	Generation uint64              `json:"generation"`
	Index      uint64              `json:"index"`
	Submitted  int64               `json:"submitted"` // Unix seconds.
}

// Service is the answer of GET /v1/service/NAME: the service as it was submitted, and
// its status.
type Service struct {
	Service    wadi.Service      `json:"service"` // With every default.
	Index      uint64            `json:"index"`   // For CheckIndex.
	Generation uint64            `json:"generation"`
	Phase      string            `json:"phase"` // pending until the leader has reconciled this generation.
	Latest     string            `json:"latest"`
	Deleting   bool              `json:"deleting,omitempty"`
	Submitted  int64             `json:"submitted"` // Unix seconds.
	File       string            `json:"file"`
	Source     string            `json:"source"`
	Variables  map[string]string `json:"variables,omitempty"`
	Status     wadi.Status       `json:"status"`
	Warnings   []string          `json:"warnings,omitempty"` // Likely secrets in it. Certain ones are not shown.
	Route      *wadi.Route       `json:"route,omitempty"`

	// Overrides are the ones in force, by revision; "" is the one that has
	// most of the traffic.
	Overrides map[string]wadi.Override `json:"overrides,omitempty"`

	// TrafficOrder says how the traffic was set, if not by the file.
	TrafficOrder wadi.TrafficOrder `json:"traffic_order,omitzero"`

	RolloutOrder wadi.RolloutOrder `json:"rollout_order,omitzero"` // The last one.

	// Applied is the generation of the last submission, if calls about the traffic or a
	// rollout have changed the service since; 0: it is Generation.
	Applied uint64 `json:"applied,omitempty"`
}

// Revision is one element of GET /v1/service/NAME/revisions.
type Revision struct {
	ID       string     `json:"id"`
	Number   int        `json:"number"`
	Created  int64      `json:"created"` // Unix seconds.
	SpecHash string     `json:"spec_hash"`
	Phase    wadi.Phase `json:"phase"`
	Reason   string     `json:"reason,omitempty"`
	Percent  float64    `json:"percent"` // Of the service's traffic.

	Images []wadi.Image `json:"images,omitempty"`

	Pinned   bool `json:"pinned,omitempty"`   // Retention keeps it.
	Deleting bool `json:"deleting,omitempty"` // The leader removes it.
}

// Pin is the answer of PUT and DELETE /v1/revision/ID/pin.
type Pin struct {
	Revision string `json:"revision"`
	Pinned   bool   `json:"pinned"`
}

// Deletion is the answer of DELETE /v1/service/NAME and of DELETE /v1/revision/ID.
type Deletion struct {
	Name     string `json:"name"`     // Of the service, or the revision's ID.
	Deleting bool   `json:"deleting"` // Marked, and not gone yet.
	Gone     bool   `json:"gone"`
}

// Scale is the body of PUT /v1/service/NAME/scale: a count for a time, whatever the load. Without
// Count and For it ends the override.
type Scale struct {
	Count    *int          `json:"count,omitempty"`
	For      wadi.Duration `json:"for,omitempty"`
	Revision string        `json:"revision,omitempty"` // Empty: the one that has most of the traffic.
}

// Scaled is the answer of PUT /v1/service/NAME/scale.
type Scaled struct {
	Service  string         `json:"service"`
	Revision string         `json:"revision,omitempty"` // Empty: the one that has most of the traffic.
	Override *wadi.Override `json:"override"`           // Null: there is none now.
	Warnings []string       `json:"warnings,omitempty"`
}

// Self is the answer of GET /v1/agent/self. Addresses are host:port.
type Self struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	API           string `json:"api,omitempty"`
	APITLS        bool   `json:"api_tls,omitempty"` // The API speaks HTTPS.
	Gateway       string `json:"gateway,omitempty"`
	GatewayTLS    string `json:"gateway_tls,omitempty"`
	GatewayDomain string `json:"gateway_domain,omitempty"`
	Metrics       string `json:"metrics,omitempty"`
	Leader        bool   `json:"leader"` // This agent leads now.
}

// Reloaded is the answer of PUT /v1/agent/reload. Settings are named as in the file, such as
// limits.max_instances.
type Reloaded struct {
	Changed  []string `json:"changed"`            // In force now; empty: nothing had changed.
	Restart  []string `json:"restart,omitempty"`  // Changed in the file, but in force after a restart only.
	Warnings []string `json:"warnings,omitempty"` // What should be checked.
}

// Leader is the answer of GET /v1/status/leader.
type Leader struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"` // Base URL of its API.
}

// Health is the answer of GET /v1/agent/health, with status 200 or 503.
type Health struct {
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"` // What is wrong with the agent now.
	Warnings []string `json:"warnings,omitempty"` // What a person should check; the agent is healthy all the same.
}

// Doctor is the answer of GET /v1/doctor: what the agents found about themselves.
type Doctor struct {
	Agents []wadi.AgentReport `json:"agents"`
}

// Target is one traffic target of a [Traffic].
type Target struct {
	Revision string   `json:"revision"`          // "latest", or the ID of a revision.
	Percent  *float64 `json:"percent,omitempty"` // In steps of 0.01; null: 100 of a single target, 0 of one of several.
	Tag      string   `json:"tag,omitempty"`
}

// Traffic is the body of PUT /v1/service/NAME/traffic: all targets that the service shall
// have. The percents sum to exactly 100.
type Traffic struct {
	Targets    []Target `json:"targets"`
	CheckIndex *uint64  `json:"check_index,omitempty"` // That must be stored; null: any.
}

// Rollback is the body of PUT /v1/service/NAME/rollback.
type Rollback struct {
	// To is the revision to go back to. If it is empty a rollout that is under way is aborted;
	// without one the revision with most of the traffic keeps it and takes the share of newer
	// ones, or, if there is none, the newest ready one before it gets all.
	To         string  `json:"to,omitempty"`
	CheckIndex *uint64 `json:"check_index,omitempty"` // That must be stored; null: any.
}

// TrafficSet is the answer of PUT /v1/service/NAME/traffic and of PUT
// /v1/service/NAME/rollback.
type TrafficSet struct {
	Service    string               `json:"service"`
	Index      uint64               `json:"index"` // For a later CheckIndex.
	Generation uint64               `json:"generation"`
	Changed    bool                 `json:"changed"` // False: it was stored like this before.
	Before     []wadi.TrafficTarget `json:"before"`
	Targets    []wadi.TrafficTarget `json:"targets"`           // As they are stored now.
	From       string               `json:"from,omitempty"`    // Of a rollback: the revision that gives the traffic up.
	To         string               `json:"to,omitempty"`      // Of a rollback: the one that gets it.
	Aborted    string               `json:"aborted,omitempty"` // The revision whose rollout a rollback has aborted.
	Warnings   []string             `json:"warnings,omitempty"`
}

// RolloutOrder is the body of PUT /v1/service/NAME/rollout.
type RolloutOrder struct {
	Action     wadi.RolloutAction `json:"action"`
	CheckIndex *uint64            `json:"check_index,omitempty"` // That must be stored; null: any.
}

// RolloutOrdered is the answer of PUT /v1/service/NAME/rollout.
type RolloutOrdered struct {
	Service    string             `json:"service"`
	Action     wadi.RolloutAction `json:"action"`
	Revision   string             `json:"revision"` // That takes over.
	Index      uint64             `json:"index"`    // For a later CheckIndex.
	Generation uint64             `json:"generation"`
	Changed    bool               `json:"changed"` // False: it was ordered before.
}

// RolloutCheck is what the revisions of a service have answered, side by side, and what the
// gate of a rollout concludes. It sends nothing and changes nothing.
type RolloutCheck struct {
	Service   string             `json:"service"`
	Since     time.Time          `json:"since"`              // Since when requests count.
	Revisions []RevisionOutcomes `json:"revisions"`          // Those with traffic, requests or instances since then; newest first.
	After     string             `json:"after,omitempty"`    // The revision that takes over, or would.
	Before    string             `json:"before,omitempty"`   // The one that it is compared with; empty: none has traffic.
	Decision  string             `json:"decision,omitempty"` // Of the gate: "go-on", "wait" or "back"; empty: it can't judge.
	Reason    string             `json:"reason"`             // Why, with the numbers.
}

// RevisionOutcomes is what the requests of one revision were answered, by its instances and by
// agents in their place.
type RevisionOutcomes struct {
	Revision        string            `json:"revision"`
	Percent         float64           `json:"percent"`  // Of the service's traffic.
	Requests        uint64            `json:"requests"` // That were answered.
	Errors          uint64            `json:"errors"`   // Of them, by the error_codes of the service's rollout.
	CallersGone     uint64            `json:"callers_gone"`
	Codes           map[string]uint64 `json:"codes"` // Answers by HTTP's status ("503") or gRPC's ("grpc:14"); 499: the caller left before one began.
	P50             wadi.Duration     `json:"p50"`   // Of the time until an answer began, at the instance. 0: no requests.
	P99             wadi.Duration     `json:"p99"`
	ColdStarts      uint64            `json:"cold_starts"`
	InstanceSeconds float64           `json:"instance_seconds"`  // Time that instances ran, summed up over them.
	From            time.Time         `json:"from"`              // Since when this is known.
	Unknown         string            `json:"unknown,omitempty"` // Why some of it is not known; empty: all is.
}
