package jobspecs

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/wadi-run/wadi"
)

// ParseTask reads the body of a Nomad task in the agent's configuration (queue_proxy, and
// mesh.sidecar_task), where Nomad's parser can't be asked, and returns it as Agent needs
// it. It knows driver, user, config, env, meta, resources, logs, kill_timeout,
// shutdown_delay, artifact and volume_mount. References that Nomad resolves at run time,
// such as ${NOMAD_TASK_DIR} or ${attr.cpu.arch}, are kept.
func ParseTask(body hcl.Body, path string) (json.RawMessage, []wadi.Problem) {
	r := &taskReader{}
	r.begin()
	r.scope.runtime = true
	t := r.task(body, path)
	o, err := asObject(t)
	if err != nil {
		r.addf(body.MissingItemRange(), path, "write the task: %s", err)
		return nil, r.problems
	}
	for k, v := range o {
		if isZero(v) {
			delete(o, k) // Only at the top; config and env stay as the user wrote them.
		}
	}
	data, err := json.Marshal(o)
	if err != nil {
		r.addf(body.MissingItemRange(), path, "write the task: %s", err)
	}
	r.secrets(data, path, body.MissingItemRange())
	sortProblems(r.problems)
	return data, r.problems
}

type taskReader struct{ reader }

// task reads the settings of the task.
func (r *taskReader) task(body hcl.Body, path string) *api.Task {
	var t api.Task
	var kill, shutdown wadi.Duration
	r.body(body, path, []setting{
		{"driver", text(&t.Driver, notEmpty)},
		{"user", text(&t.User, nil)},
		{"env", stringMap(&t.Env, 1000, 32<<10)},
		{"meta", stringMap(&t.Meta, 1000, 32<<10)},
		{"kill_timeout", duration(&kill, 0, 24*time.Hour)},
		{"shutdown_delay", duration(&shutdown, 0, time.Hour)},
	}, []nested{
		{name: "config", read: func(b *hcl.Block, path string) { t.Config = r.anything(b.Body, path) }},
		{name: "env", read: func(b *hcl.Block, path string) { t.Env = r.strings(b.Body, path) }},
		{name: "meta", read: func(b *hcl.Block, path string) { t.Meta = r.strings(b.Body, path) }},
		{name: "resources", read: func(b *hcl.Block, path string) { t.Resources = r.resources(b, path) }},
		{name: "logs", read: func(b *hcl.Block, path string) { t.LogConfig = r.logs(b, path) }},
		{name: "artifact", many: true, read: func(b *hcl.Block, path string) { t.Artifacts = append(t.Artifacts, r.artifact(b, path)) }},
		{name: "volume_mount", many: true, read: func(b *hcl.Block, path string) { t.VolumeMounts = append(t.VolumeMounts, r.volumeMount(b, path)) }},
	})
	if _, ok := r.ranges[join(path, "driver")]; !ok {
		r.addf(body.MissingItemRange(), join(path, "driver"), "required: the task driver, such as \"docker\" or \"raw_exec\"")
	}
	if kill > 0 {
		t.KillTimeout = new(kill.D())
	}
	t.ShutdownDelay = shutdown.D()
	return &t
}

func (r *taskReader) resources(b *hcl.Block, path string) *api.Resources {
	var cpu, cores, memory, most int
	r.body(b.Body, path, []setting{
		{"cpu", integer(&cpu, 1, 1_000_000)},
		{"cores", integer(&cores, 1, 10_000)},
		{"memory", integer(&memory, 1, 10_000_000)},
		{"memory_max", integer(&most, 1, 10_000_000)},
	}, nil)
	return &api.Resources{CPU: ifSet(cpu), Cores: ifSet(cores), MemoryMB: ifSet(memory), MemoryMaxMB: ifSet(most)}
}

func (r *taskReader) logs(b *hcl.Block, path string) *api.LogConfig {
	var files, size int
	var disabled bool
	r.body(b.Body, path, []setting{
		{"max_files", integer(&files, 1, 1000)},
		{"max_file_size", integer(&size, 1, 100_000)},
		{"disabled", flag(&disabled)},
	}, nil)
	l := &api.LogConfig{MaxFiles: ifSet(files), MaxFileSizeMB: ifSet(size)}
	if disabled {
		l.Disabled = new(true)
	}
	return l
}

func (r *taskReader) artifact(b *hcl.Block, path string) *api.TaskArtifact {
	var source, destination, mode string
	a := &api.TaskArtifact{}
	r.body(b.Body, path, []setting{
		{"source", text(&source, notEmptyRuntime)},
		{"destination", text(&destination, nil)},
		{"mode", text(&mode, nil)},
		{"options", stringMap(&a.GetterOptions, 100, 4096)},
		{"headers", stringMap(&a.GetterHeaders, 100, 4096)},
	}, []nested{
		{name: "options", read: func(b *hcl.Block, path string) { a.GetterOptions = r.strings(b.Body, path) }},
		{name: "headers", read: func(b *hcl.Block, path string) { a.GetterHeaders = r.strings(b.Body, path) }},
	})
	r.require(b, path, "source", "where the artifact is fetched from")
	a.GetterSource, a.RelativeDest, a.GetterMode = ifText(source), ifText(destination), ifText(mode)
	return a
}

func (r *taskReader) volumeMount(b *hcl.Block, path string) *api.VolumeMount {
	var volume, destination string
	var readOnly bool
	r.body(b.Body, path, []setting{
		{"volume", text(&volume, nil)},
		{"destination", text(&destination, nil)},
		{"read_only", flag(&readOnly)},
	}, nil)
	m := &api.VolumeMount{Volume: ifText(volume), Destination: ifText(destination)}
	if readOnly {
		m.ReadOnly = new(true)
	}
	return m
}

// strings reads a block of arbitrary names with string values.
func (r *taskReader) strings(body hcl.Body, path string) map[string]string {
	attrs, diags := body.JustAttributes()
	r.addDiagnostics(diags, path, body.MissingItemRange())
	all := map[string]string{}
	for name, a := range attrs {
		r.attribute(a, join(path, name), func(v cty.Value) error {
			s, err := convert.Convert(v, cty.String)
			if err != nil {
				return err
			}
			all[name] = s.AsString()
			return nil
		})
	}
	return all
}

// anything reads a driver's config, with arbitrary content. Blocks become lists of maps,
// as in Nomad's own parser.
func (r *taskReader) anything(body hcl.Body, path string) map[string]any {
	all := map[string]any{}
	b, ok := body.(*hclsyntax.Body)
	if !ok {
		return all
	}
	for name, a := range b.Attributes {
		r.attribute(a.AsHCLAttribute(), join(path, name), func(v cty.Value) error {
			data, err := ctyjson.SimpleJSONValue{Value: v}.MarshalJSON()
			if err != nil {
				return err
			}
			all[name] = json.RawMessage(data)
			return nil
		})
	}
	for _, inner := range b.Blocks {
		var v any = r.anything(inner.Body, join(path, inner.Type))
		for i := len(inner.Labels) - 1; i >= 0; i-- {
			v = []any{map[string]any{inner.Labels[i]: v}}
		}
		if m, ok := v.(map[string]any); ok {
			v = []any{m}
		}
		list, _ := all[inner.Type].([]any)
		all[inner.Type] = append(list, v.([]any)...)
	}
	return all
}

func notEmptyRuntime(s string) error {
	return notEmpty(strings.ReplaceAll(s, "${", ""))
}

func ifSet(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func ifText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
