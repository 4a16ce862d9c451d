package wadi

// Names of Wadi's own services in Consul. In the mesh they are identities, which
// intentions name as sources.
const (
	// ServiceAgent is every agent, outside the mesh.
	ServiceAgent = "wadi"
	// ServiceActivator is every activator, for services of protocol http1. Activators
	// call instances under this identity whatever the protocol.
	ServiceActivator = "wadi-activator"
	// ServiceActivatorHTTP2 is the activators for services of protocol h2c: Consul
	// refuses a failover from one protocol to another.
	ServiceActivatorHTTP2 = "wadi-activator-http2"
	// ServiceActivatorGRPC is the activators for services of protocol grpc.
	ServiceActivatorGRPC = "wadi-activator-grpc"
	// ServiceGateway is the source that intentions name for callers from outside the
	// mesh. It has no certificate: an activator uses the name for the requests that its
	// own gateway accepted.
	ServiceGateway = "wadi-gateway"
)

// ActivatorOf names the activator to which services of a protocol fail over.
func ActivatorOf(p Protocol) string {
	switch p {
	case H2C:
		return ServiceActivatorHTTP2
	case GRPC:
		return ServiceActivatorGRPC
	}
	return ServiceActivator
}

// Activators lists the names of an activator, with the identity that instances see
// first.
func Activators() []string {
	return []string{ServiceActivator, ServiceActivatorHTTP2, ServiceActivatorGRPC}
}

// TagName is a tagged target's own name in the mesh, and the first label of its
// host at the gateway: canary-hello for tag canary of service hello.
func TagName(tag, service string) string { return tag + "-" + service }

// Intentions list the allowed callers of a service in the mesh. With them Wadi manages
// the service's intentions in Consul; nil leaves those unmanaged.
type Intentions struct {
	// Allow lists services by their names in Consul; "*" is every service. Activators
	// are always allowed, and the gateway is for a public service. All other callers
	// are refused.
	Allow []string `json:"allow"`
}
