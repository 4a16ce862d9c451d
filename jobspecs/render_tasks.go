package jobspecs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
)

// proxyRestartDelay is how long Nomad waits before it restarts a queue-proxy that has
// died, plus up to a quarter of it at random. The instance's other tasks go on.
const proxyRestartDelay = 50 * time.Millisecond

// tasks are the user's tasks, and the queue-proxy after them.
func (r *renderer) tasks(group object) ([]any, error) {
	_, ownDisk := group["EphemeralDisk"]
	userTasks, _ := group["Tasks"].([]any)
	tasks := make([]any, 0, len(userTasks)+1)
	found := false
	given := r.given()
	for _, t := range userTasks {
		task, ok := t.(object)
		if !ok {
			return nil, errors.New("read instance: a task is no object")
		}
		serving := task["Name"] == r.spec.ServingTask
		found = found || serving
		env := inner(task, "Env")
		for k, v := range given {
			if k != "PORT" || serving {
				env[k] = v
			}
		}
		r.pin(task)
		r.hostNetwork(task)
		if !ownDisk {
			boundLogs(task)
		}
		tasks = append(tasks, task)
	}
	if !found {
		return nil, fmt.Errorf("the instance has no task %q to serve", r.spec.ServingTask)
	}
	proxy, err := r.queueProxy()
	if err != nil {
		return nil, err
	}
	return append(tasks, proxy), nil
}

// queueProxy is the agent's task with this revision's settings.
func (r *renderer) queueProxy() (object, error) {
	if len(r.agent.QueueProxyTask) == 0 {
		return nil, errors.New("the agent has no queue_proxy task")
	}
	task, err := toObject(r.agent.QueueProxyTask)
	if err != nil {
		return nil, fmt.Errorf("read the agent's queue_proxy task: %w", err)
	}
	resolve(task, r.given())
	r.agent.Download.into(task)
	task["Name"] = wadi.TaskQueueProxy
	task["Leader"] = true // It is stopped first, and drains while the app still runs.
	task["KillSignal"] = "SIGTERM"
	task["KillTimeout"] = int64(r.spec.Timeout.Request.D() + killMargin)
	if task["RestartPolicy"] == nil {
		// It starts at once, and callers wait for it.
		task["RestartPolicy"] = object{"Attempts": 5, "Interval": time.Minute, "Delay": proxyRestartDelay, "Mode": "fail"}
	}
	r.pin(task)
	env := inner(task, "Env")
	for k, v := range r.queueProxyEnv() {
		env[k] = v
	}
	r.hostNetwork(task)
	boundLogs(task)
	return task, nil
}

// queueProxyEnv is the queue-proxy's whole configuration, without settings that have its
// own default.
func (r *renderer) queueProxyEnv() map[string]string {
	s := r.spec
	env := map[string]string{
		"WADI_SERVICE":           r.rev.Service,
		"WADI_REVISION":          r.rev.ID,
		"WADI_INSTANCE":          "${NOMAD_ALLOC_ID}",
		"WADI_TARGET":            "127.0.0.1:" + r.appPort(),
		"WADI_PROTOCOL":          string(s.Protocol),
		"WADI_CONCURRENCY_LIMIT": strconv.Itoa(s.ConcurrencyLimit),

		"WADI_TIMEOUT_REQUEST":        s.Timeout.Request.String(),
		"WADI_TIMEOUT_RESPONSE_START": s.Timeout.ResponseStart.String(),
		"WADI_TIMEOUT_IDLE":           s.Timeout.Idle.String(),
	}
	r.addListeners(env)
	if probe, err := json.Marshal(s.Probe); err == nil {
		env["WADI_PROBE"] = string(probe)
	}
	if len(s.Queue.Quiet) > 0 {
		if quiet, err := json.Marshal(s.Queue.Quiet); err == nil {
			env["WADI_QUIET"] = string(quiet)
		}
	}
	if r.rev.Proof != "" {
		env["WADI_PROOF_SHA256"] = r.rev.Proof.Digest() // A reader of the job can't derive the proof from it.
	}
	if r.agent.LogLevel != "" {
		env["WADI_LOG_LEVEL"] = r.agent.LogLevel
	}
	if r.agent.AccessLog {
		env["WADI_ACCESS_LOG"] = "true"
	}
	if r.agent.Shield && s.Mesh == wadi.MeshEnvoy {
		env["WADI_SHIELD"] = "true"
	}
	return env
}

// addListeners sets the addresses of the queue-proxy's listeners.
func (r *renderer) addListeners(env map[string]string) {
	if r.spec.Network == wadi.Host {
		env["WADI_LISTEN"] = ":" + portVariable(wadi.PortTraffic)
		env["WADI_ADMIN"] = "127.0.0.1:" + portVariable(wadi.PortAdmin)
		env["WADI_METRICS"] = ":" + portVariable(wadi.PortMetrics)
		return
	}
	host := "127.0.0.1" // For Envoy, in the same network namespace.
	if r.spec.Mesh == wadi.MeshOff {
		host = "0.0.0.0"
	} else {
		env["WADI_ENVOY"] = "127.0.0.1:" + portVariable(wadi.PortEnvoy(r.rev.Service))
	}
	env["WADI_LISTEN"] = fmt.Sprintf("%s:%d", host, wadi.BridgeTrafficPort)
	env["WADI_ADMIN"] = fmt.Sprintf("127.0.0.1:%d", wadi.BridgeAdminPort)
	env["WADI_METRICS"] = fmt.Sprintf("0.0.0.0:%d", wadi.BridgeMetricsPort)
}

// appPort is the app's port: fixed in a bridge network, otherwise Nomad's choice.
func (r *renderer) appPort() string {
	if r.spec.Network == wadi.Host {
		return portVariable(wadi.PortApp)
	}
	return strconv.Itoa(r.spec.Port)
}

func portVariable(label string) string { return "${NOMAD_PORT_" + label + "}" }

// hostNetwork makes a Docker task use the host's network: otherwise Docker would put it
// into a network of its own, where it can't be reached.
func (r *renderer) hostNetwork(task object) {
	if r.spec.Network != wadi.Host || task["Driver"] != "docker" {
		return
	}
	if config := inner(task, "Config"); config["network_mode"] == nil {
		config["network_mode"] = "host"
	}
}

// boundLogs bounds a task's logs unless the task does: Nomad's default is 100 MB per task
// (also for Envoy if its task has a body), and a disk must be larger than that.
func boundLogs(task object) {
	logs := inner(task, "LogConfig")
	if logs["MaxFiles"] == nil {
		logs["MaxFiles"] = json.Number(strconv.Itoa(logFiles))
	}
	if logs["MaxFileSizeMB"] == nil {
		logs["MaxFileSizeMB"] = json.Number(strconv.Itoa(logFileMB))
	}
}

// diskFor is the smallest disk that Nomad accepts for these tasks' logs. Nomad's default
// of 300 MB would fill a node long before its memory is full.
func diskFor(tasks []any) int {
	size := diskMB
	for _, t := range tasks {
		task, ok := t.(object)
		if !ok {
			continue
		}
		logs, _ := task["LogConfig"].(object)
		size = max(size, count(logs["MaxFiles"])*count(logs["MaxFileSizeMB"])+diskSpareMB)
	}
	return size
}

func count(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return int(i)
}
