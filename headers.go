package wadi

// Headers that Wadi's parts use among themselves. Wherever a request enters Wadi they are
// stripped from what the caller sent, HeaderTag excepted.
const (
	// HeaderService names the service that a request is for.
	HeaderService = "Wadi-Service"
	// HeaderRevision names the revision that a request is for.
	HeaderRevision = "Wadi-Revision"
	// HeaderRoute names the rule of the service by whose [Redirect] an activator is to answer.
	HeaderRoute = "Wadi-Route"
	// HeaderInstance names the allocation that a request is for. The queue-proxy of
	// another allocation answers 421.
	HeaderInstance = "Wadi-Instance"
	// HeaderProxied marks a request that came through an activator, which counts it. Any
	// caller may send it: a queue-proxy believes it of a caller that the mesh identifies
	// as an activator, and without the mesh if its value is the revision's [Proof].
	HeaderProxied = "Wadi-Proxied"
	// HeaderProbe carries the revision that a probe on the traffic path asks for. The
	// queue-proxy answers the probe itself, and names its revision and allocation in
	// HeaderRevision and HeaderInstance of the answer.
	HeaderProbe = "Wadi-Probe"
	// HeaderError is the reason of an answer that Wadi gives itself; see
	// docs/data-plane.md. A queue-proxy strips it from the app's answers, so that it is
	// always Wadi's own.
	HeaderError = "Wadi-Error"
	// HeaderUnready, in an answer of a queue-proxy, is why its app is not ready.
	HeaderUnready = "Wadi-Unready"
	// HeaderMirror marks a copy of a request; see [Mirror]. A queue-proxy believes it of an
	// activator only, as HeaderProxied, and passes it on to the app.
	HeaderMirror = "Wadi-Mirror"
	// HeaderTag selects a tagged traffic target. Callers may set it.
	HeaderTag = "Wadi-Tag"
)

// InternalHeaders lists the headers that only Wadi may set and that mesh callers' Envoys
// remove. HeaderMirror is not among them: nobody believes it of a mesh caller. Nor is
// HeaderRoute: it takes a caller to a place that the service names anyway.
func InternalHeaders() []string {
	return []string{HeaderService, HeaderRevision, HeaderInstance, HeaderProxied, HeaderProbe}
}
