package config

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// reference is a reference that Nomad's clients resolve, such as
// ${attr.unique.network.ip-address}.
var reference = regexp.MustCompile(`\$\{[a-zA-Z0-9_.-]+\}`)

// assets checks how Nomad's clients fetch the queue-proxy, after its task was read.
func (l *loader) assets() {
	a := l.cfg.Assets
	if _, ok := l.from["assets"]; !ok {
		return
	}
	switch {
	case a.Dir == "":
		l.problem(l.at("assets.dir"), "assets.dir", "required: a folder that outlives the agent, such as /var/lib/wadi/assets")
	case !filepath.IsAbs(a.Dir):
		l.problem(l.at("assets.dir"), "assets.dir", "%q is no whole path, such as /var/lib/wadi/assets", a.Dir)
	}
	for i, arch := range a.Arch {
		if arch != "amd64" && arch != "arm64" || slices.Contains(a.Arch[:i], arch) {
			l.problem(l.at("assets.arch"), "assets.arch", "%q is not one of amd64, arm64, each once", arch)
		}
	}
	if a.URL == "" {
		return
	}
	u, err := url.Parse(reference.ReplaceAllString(a.URL, "reference"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		l.problem(l.at("assets.url"), "assets.url",
			"%q is not where Nomad's clients reach agents, such as \"http://$${attr.unique.network.ip-address}:4748\"", a.URL)
	}
	l.downloaded()
}

// downloaded checks that the queue-proxy's task can run a program that it fetches.
func (l *loader) downloaded() {
	var task struct {
		Driver string
		Config map[string]json.RawMessage
	}
	if len(l.cfg.QueueProxyTask) == 0 || json.Unmarshal(l.cfg.QueueProxyTask, &task) != nil {
		return // It is required, or its mistakes are told.
	}
	if task.Driver != "raw_exec" && task.Driver != "exec" {
		l.problem(l.at("queue_proxy"), "queue_proxy.driver", "%q can't run what assets.url has it fetch; raw_exec and exec can", task.Driver)
	} else if _, ok := task.Config["command"]; ok {
		l.problem(l.at("queue_proxy"), "queue_proxy.config.command", "leave it out: with assets.url it is what is fetched")
	}
}
