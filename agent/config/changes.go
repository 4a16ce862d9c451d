package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Change is a setting, or a block that is read as a whole, that differs between two
// configurations.
type Change struct {
	Path string // For instance limits.max_instances.
	Live bool   // A reload changes it. Else it waits for a restart.
}

// Changes returns what differs between two configurations, sorted by path.
func Changes(a, b Config) []Change {
	var out []Change
	fixed := switchesTLS(a, b)
	each(&a, &b, func(s setting) {
		if !reflect.DeepEqual(s.of[0].Interface(), s.of[1].Interface()) {
			out = append(out, Change{s.path, s.live && !fixed(s.path)})
		}
	})
	return out
}

// switchesTLS returns the paths that a reload does not change because the API's listener
// would begin, or cease, to speak TLS.
func switchesTLS(a, b Config) func(path string) bool {
	switched := a.HTTP.TLS.Enabled() != b.HTTP.TLS.Enabled()
	return func(path string) bool { return switched && strings.HasPrefix(path, "http.tls.") }
}

// Reload is the configuration that is in force when next was loaded while c was in force:
// next in all that a reload changes, c in the rest.
func (c Config) Reload(next Config) Config {
	fixed := switchesTLS(c, next)
	each(&c, &next, func(s setting) {
		if s.live && !fixed(s.path) {
			s.of[0].Set(s.of[1])
		}
	})
	return c
}

// A Setting is one setting of the language, or one block that is read as a whole.
type Setting struct {
	Path    string
	Type    string // bool, string, number, duration, size, list, or block.
	Default string // As it would be written; empty: none.
	Live    bool   // A reload changes it.
}

// Settings returns the whole language of the configuration, sorted by path. The settings of
// an admission block are those of admission.NAME. The default of the name is the host's.
func Settings() []Setting {
	c := Default()
	c.Name = ""
	other := c
	var out []Setting
	visit := func(s setting) {
		kind, text := describe(s.dst, s.of[0])
		out = append(out, Setting{Path: s.path, Type: kind, Default: text, Live: s.live})
	}
	each(&c, &other, visit)
	w := newWebhook("NAME")
	collect(webhookSection(&w), webhookSection(&w), "admission.NAME", true, visit)
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// setting is a setting in two configurations.
type setting struct {
	path string
	live bool
	dst  any // Of the first.
	of   [2]reflect.Value
}

// each calls visit for each setting of the language, sorted by path.
func each(a, b *Config, visit func(setting)) {
	x, y := loader{cfg: *a}, loader{cfg: *b}
	var found []setting
	collect(x.top(), y.top(), "", false, func(s setting) { found = append(found, s) })
	slices.SortFunc(found, func(a, b setting) int { return strings.Compare(a.path, b.path) })
	for _, s := range found {
		visit(s)
	}
	*a = x.cfg
}

func collect(x, y section, path string, inLive bool, visit func(setting)) {
	inLive = inLive || x.live
	if x.value != nil {
		visit(newSetting(path, inLive, x.value, y.value))
	}
	for _, name := range slices.Sorted(maps.Keys(x.settings)) {
		visit(newSetting(join(path, name), inLive, x.settings[name], y.settings[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(x.blocks)) {
		collect(x.blocks[name], y.blocks[name], join(path, name), inLive, visit)
	}
}

func newSetting(path string, inLive bool, x, y any) setting {
	if l, ok := x.(live); ok {
		inLive, x, y = true, l.dst, y.(live).dst
	}
	return setting{path: path, live: inLive, dst: x, of: [2]reflect.Value{target(x), target(y)}}
}

// target is the field behind a destination.
func target(dst any) reflect.Value {
	switch d := dst.(type) {
	case address:
		dst = d.dst
	case size:
		dst = d.dst
	case intSize:
		dst = d.dst
	case names:
		dst = d.dst
	}
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer {
		panic(fmt.Sprintf("setting of type %T", dst)) // A mistake in the table of sections; a test visits all.
	}
	return v.Elem()
}
