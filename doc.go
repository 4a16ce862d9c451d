// Package wadi holds the vocabulary of Wadi: the types that its parts exchange and store,
// and the sentinel errors that they share.
//
// It promises to depend on the standard library alone and to do no I/O. It refuses to
// know what a Nomad job means: here a job is opaque JSON, and package jobspecs renders it.
//
// What a user submits and what Wadi makes of it:
//
//   - A [Service] says how an instance runs, how it scales, and where its traffic goes.
//   - A [Spec] is a service as it is stored, with its source text and its generation.
//   - A [Revision] is one immutable version of how an instance runs. It is one Nomad job.
//   - An instance is one running copy of a revision: one Nomad allocation. An [Endpoint]
//     says where it listens.
//   - A [Route] names the revisions that answer for a service, who may call it, and how
//     its requests are queued.
//
// How the number of instances follows the load:
//
//   - [Stats] are the [Sample] values of one source: a queue-proxy or an activator.
//   - [Scaling] bounds the count and sets the targets; [Schedule] raises its floor by
//     the clock.
//   - A [Decision] is one answer of the autoscaler, with its inputs and its reason. The
//     decisions that are kept are the history of a revision.
//   - An [Order] tells an instance, before the count is lowered, whether it is to drain.
//
// What users see:
//
//   - A [Status] shows the service as the leader last saw it: its [Condition] values, the
//     [RevisionStatus] of each revision, and the latest [Event] values.
//   - An [ExitStatus] counts the ends of an app.
//   - A [Problem] is one mistake in a user's files.
//   - A [Finding] is what one check of "wadi doctor" found.
//
// The leader's own memory of a service is a [State].
package wadi
