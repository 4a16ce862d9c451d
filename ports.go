package wadi

import "strings"

// Labels of an instance's ports in its Nomad job.
const (
	// PortTraffic is the queue-proxy's traffic port, mapped where the mesh is off.
	PortTraffic = "wadi_traffic"
	// PortMetrics is the queue-proxy's metrics port; always mapped.
	PortMetrics = "wadi_metrics"
	// PortAdmin is the queue-proxy's admin port, in host networks only.
	PortAdmin = "wadi_admin"
	// PortApp is the app's port, in host networks only.
	PortApp = "wadi_app"
)

// PortEnvoy is the label that Nomad gives to the port of a service's Envoy.
func PortEnvoy(service string) string { return "connect-proxy-" + service }

// Ports inside an instance's own network namespace (bridge mode).
const (
	BridgeTrafficPort = 8012
	BridgeAdminPort   = 8022
	BridgeMetricsPort = 9090
)

// TaskQueueProxy names the sidecar's task in a revision's job.
const TaskQueueProxy = "queue-proxy"

// OwnTask reports whether a task of a revision's job is Wadi's: the queue-proxy, or Envoy.
func OwnTask(name string) bool {
	return name == TaskQueueProxy || strings.HasPrefix(name, PortEnvoy(""))
}

// GroupInstance names the one group of a revision's job.
const GroupInstance = "instance"

// GroupPrefetch names the one group of a job that fetches images.
const GroupPrefetch = "images"
