package admission

import (
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/images"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
)

// admitted is a request that admission accepts.
type admitted struct {
	known      bool            // Nomad knows the caller; false: Nomad was unavailable.
	permitted  map[string]bool // Namespaces that the caller may submit to.
	candidates []*candidate
	warnings   []wadi.Problem
	reviews    *reviews // Nil: there are no webhooks.
}

// candidate is one service on its way through admission.
type candidate struct {
	file     api.File
	draft    *jobspecs.Draft // Nil: an order, without a file.
	service  wadi.Service
	warnings []string

	exists bool
	stored wadi.Spec
	index  uint64

	spec    wadi.Spec      // What will be stored.
	changed bool           // spec differs from stored.
	rev     *wadi.Revision // The new revision; nil: none.
	retried []string       // Revisions that had failed and are to be tried again.

	revisions []wadi.Revision // The stored ones that can be read, in any order.

	images   []images.Task            // Of all tasks.
	answers  map[string]images.Answer // Of the registries, about all candidates.
	resolved []wadi.Image             // Of the revision that the candidate has or makes.
	health   string                   // Warning about its image's HEALTHCHECK; empty: none.
	moved    []wadi.MovedImage        // Since the newest stored revision.

	takeOver uint64 // JobModifyIndex of a job that an earlier submission left; 0: none.
	jobIndex uint64 // JobModifyIndex after the registration; 0: not registered.
}

// targetPath is the path of the i-th traffic target.
func (c *candidate) targetPath(i int) string {
	if c.draft == nil {
		return jobspecs.TargetPath(i)
	}
	return jobspecs.TrafficPath(i)
}

// response is the outcome for the caller.
func (adm *admitted) response() api.Submitted {
	out := api.Submitted{Services: make([]api.SubmittedService, 0, len(adm.candidates)), Warnings: adm.warnings}
	for _, c := range adm.candidates {
		out.Services = append(out.Services, api.SubmittedService{
			Name:        c.service.Name,
			Index:       c.index,
			Generation:  c.spec.Generation,
			Revision:    c.spec.Latest,
			NewRevision: c.rev != nil,
			Changed:     c.changed,
			Retried:     c.retried,
			Moved:       c.moved,
			Warnings:    c.warnings,
		})
	}
	return out
}

// Metas of a revision's job by which admission recognises a job of Wadi.
const (
	metaService  = "wadi_service"
	metaSpecHash = "wadi_spec_hash"
)
