package wadi

// Names that Wadi has in Consul. In the mesh they are identities: what an
// intention names as its source.
const (
	// ServiceAgent is every agent, outside the mesh.
	ServiceAgent = "wadi"
	// ServiceActivator is every activator, for services of protocol http1. Toward
	// an instance an activator is always this one, whatever the protocol.
	ServiceActivator = "wadi-activator"
	// ServiceActivatorHTTP2 is the activators for services of protocol h2c: Consul
	// refuses a failover from one protocol to another.
	ServiceActivatorHTTP2 = "wadi-activator-http2"
	// ServiceActivatorGRPC is the activators for services of protocol grpc.
	ServiceActivatorGRPC = "wadi-activator-grpc"
	// ServiceGateway is who a caller from outside the mesh is to intentions. It has
	// no certificate: only an activator uses the name, about requests that its own
	// gateway took in.
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

// Activators lists the names that an activator has, the one that it shows to
// instances first.
func Activators() []string {
	return []string{ServiceActivator, ServiceActivatorHTTP2, ServiceActivatorGRPC}
}

// TagName is a tagged target's own name in the mesh, and the first label of its
// host at the gateway: canary-hello for tag canary of service hello.
func TagName(tag, service string) string { return tag + "-" + service }

// Intentions say who may call a service in the mesh. A service that has them
// leaves its intentions in Consul to Wadi; nil leaves them to whoever writes them.
type Intentions struct {
	// Allow lists services, by their names in Consul; "*" is every one. Activators,
	// and for a public service the gateway, are let in besides; nobody else is.
	Allow []string `json:"allow"`
}
