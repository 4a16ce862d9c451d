package secrets

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// What is wrong with a secret, and what to do instead, at the end of messages.
const (
	refused = "would be stored in clear, and shown to whoever may read the service; "
	warned  = "is stored in clear, and shown to whoever may read the service; "

	insteadOfLogin = `let the clients' Docker plugin log in (auth { config } or auth { helper } in its configuration), ` +
		`or write password = "${REGISTRY_PASSWORD}" and set that variable by a template with env = true; docs/secrets.md shows both`
	insteadOfArtifact = `take it from a secret block, as ${secret.NAME.KEY}; docs/secrets.md shows how`
	insteadOfLiteral  = `set it by a template from a Nomad variable or Vault, or by a secret block; docs/secrets.md shows how`
	insteadOfMount    = `use credentials=FILE with a file of the node, or the secrets of the CSI volume (docs/secrets.md)`
)

type finder struct {
	found []Finding
	known map[*node]int // Index in found.
}

func newFinder() *finder { return &finder{known: map[*node]int{}} }

// add adds a finding, unless the node has one that is as certain.
func (f *finder) add(n *node, path string, certain bool, spans []span, message string) {
	if len(spans) == 0 {
		return
	}
	found := Finding{Path: path, Certain: certain, Message: message, at: n, spans: merge(spans)}
	if i, ok := f.known[n]; ok {
		first := f.found[i]
		spans := merge(slices.Concat(found.spans, first.spans)) // A guess may be beside what is certain.
		if first.Certain || !certain {
			found = first
		}
		found.spans = spans
		f.found[i] = found
		return
	}
	f.known[n] = len(f.found)
	f.found = append(f.found, found)
}

// top reads a job or a group.
func (f *finder) top(n *node, path string) {
	if groups := n.elements("TaskGroups"); len(groups) > 0 {
		for _, g := range groups {
			f.group(g, path, n.all("Meta"))
		}
	} else {
		f.group(n, path, nil)
	}
	f.anything(n, place{path: path})
}

func (f *finder) group(g *node, path string, meta []*node) {
	meta = append(meta[:len(meta):len(meta)], g.all("Meta")...)
	for _, t := range g.elements("Tasks") {
		f.task(t, join(path, "task."+t.value("Name")), meta)
	}
	for _, s := range g.elements("Services") { // Envoy's task stands in the service in the mesh.
		for _, c := range s.all("Connect") {
			for _, t := range c.all("SidecarTask") {
				f.task(t, join(path, "service.connect.sidecar_task"), meta)
			}
		}
	}
}

func (f *finder) task(t *node, path string, meta []*node) {
	named := sources{task: t, meta: append(meta[:len(meta):len(meta)], t.all("Meta")...)}
	for _, c := range t.all("Config") {
		f.config(c, join(path, "config"), &named)
	}
	for _, e := range t.entries("Env") {
		f.named(e, join(path, "env."+e.key))
	}
	for i, tmpl := range t.elements("Templates") {
		f.template(tmpl, fmt.Sprintf("%s.template[%d].data", path, i))
	}
	for i, a := range t.elements("Artifacts") {
		f.artifact(a, fmt.Sprintf("%s.artifact[%d]", path, i))
	}
	f.referred(&named, path)
	f.anything(t, place{path: path})
}

// named adds a setting that is a secret by its name.
func (f *finder) named(n *node, path string) {
	if !n.composed && isLikelySecret(n.key, n.text) {
		f.add(n, path, false, whole(n.text), "its name says that it is a secret, which "+warned+insteadOfLiteral)
	}
}

// config reads what a driver is given. Blocks are lists of objects, and a block may also be
// written as a map.
func (f *finder) config(n *node, path string, named *sources) {
	for _, p := range n.parts {
		at := path
		if !n.list {
			at = join(path, p.key)
		}
		switch {
		case strings.EqualFold(p.key, "auth") && p.composed:
			f.login(p, at, named)
		case p.composed:
			f.config(p, at, named)
		case strings.EqualFold(p.key, "image"):
			f.image(p, at)
		}
	}
}

// logins are the secret settings of an auth block, whatever the driver.
var logins = []string{"password", "identitytoken", "identity_token", "registrytoken", "registry_token", "token", "auth", "secret"}

func isLogin(key string) bool {
	return slices.ContainsFunc(logins, func(l string) bool { return strings.EqualFold(l, key) })
}

// login reads an auth block.
func (f *finder) login(n *node, path string, named *sources) {
	for _, p := range n.parts {
		at := path
		if !n.list {
			at = join(path, p.key)
		}
		switch {
		case isLogin(p.key), strings.EqualFold(p.key, "for_each"): // Nomad keeps a dynamic block as it is.
			f.credential(p, at, named)
		case p.composed:
			f.login(p, at, named)
		}
	}
}

// credential reads the value of a secret setting, which may have a strange shape.
func (f *finder) credential(n *node, path string, named *sources) {
	if n.composed {
		for _, p := range n.parts {
			f.credential(p, path, named)
		}
		return
	}
	if !isReference(n.text) {
		f.add(n, path, true, whole(n.text), "a registry's password or token stands here, and "+refused+insteadOfLogin)
	}
	named.refer(n.text)
}

// beforeRegistry is a user and a password before a registry's name.
var beforeRegistry = regexp.MustCompile(`^(?:[A-Za-z0-9+.-]+://)?[^/@\s]*:([^/@\s]+)@[^/\s]+/`)

func (f *finder) image(n *node, path string) {
	if m := beforeRegistry.FindStringSubmatchIndex(n.text); m != nil && !isReference(n.text[m[2]:m[3]]) {
		f.add(n, path, true, []span{{m[2], m[3]}}, "an image's name has no user and password: the password "+refused+insteadOfLogin)
	}
}

// artifact reads what a task downloads.
func (f *finder) artifact(a *node, path string) {
	strict := func(text string, spans []span) []span {
		return slices.DeleteFunc(spans, func(s span) bool { return isReference(text[s.from:s.to]) })
	}
	for _, n := range a.all("GetterSource") {
		f.add(n, path+".source", true, strict(n.text, append(inURLs(n.text), inQueries(n.text, false)...)), "a password, token or key stands in the URL, and "+refused+insteadOfArtifact)
	}
	for _, n := range a.entries("GetterOptions") {
		if slices.Contains(getterSecrets, strings.ToLower(n.key)) {
			f.add(n, path+".options."+n.key, true, strict(n.text, whole(n.text)), "this key "+refused+insteadOfArtifact)
		}
		f.named(n, path+".options."+n.key)
	}
	for _, n := range a.entries("GetterHeaders") {
		at := path + ".headers." + n.key
		if isLoginHeader(n.key) {
			f.add(n, at, true, strict(n.text, headerValue(n.text)), "this header is a login, which "+refused+insteadOfArtifact)
		}
		f.named(n, at)
	}
}

// isLoginHeader reports whether a header of HTTP has no other use than to log in.
func isLoginHeader(name string) bool {
	return slices.Contains([]string{"authorization", "proxy-authorization", "cookie", "private-token", "job-token", "deploy-token", "x-vault-token", "x-nomad-token", "x-consul-token"}, strings.ToLower(name))
}

// headerValue is what follows the scheme of a header such as Authorization.
func headerValue(text string) []span {
	at := 0
	if m := scheme.FindStringIndex(text); m != nil {
		at = m[1]
	}
	return []span{{at, len(text)}}
}

// template reads the text of a template.
func (f *finder) template(t *node, path string) {
	for _, n := range t.all("EmbeddedTmpl") {
		f.add(n, path, true, inFiles(n.text), "a private key or a login of Docker stands here, and "+refused+insteadOfLiteral)
		var spans []span
		for _, a := range assignments(n.text, t.value("LeftDelim")) {
			if isLikelySecret(a.name, n.text[a.value.from:a.value.to]) {
				spans = append(spans, a.value)
			}
		}
		f.add(n, path, false, spans, "it has a value whose name says that it is a secret, and which "+warned+insteadOfLiteral)
	}
}

// place is where a value stands: its setting, the keys of that and of what is around it.
type place struct {
	path, key, parent string
	users             bool // Keys are the user's, not Nomad's.
}

// in is the place of a part of n, which is at p.
func (p place) in(n, part *node, i int) place {
	switch {
	case !n.list:
		name := part.key
		if !p.users {
			name = setting(name)
		}
		users := p.users || slices.ContainsFunc([]string{"Config", "Env", "Meta", "GetterOptions", "GetterHeaders", "Header"}, func(k string) bool { return strings.EqualFold(k, part.key) })
		return place{path: join(p.path, name), key: part.key, parent: p.key, users: users}
	case len(n.parts) > 1 && len(p.path) <= maxPath:
		p.path = fmt.Sprintf("%s[%d]", p.path, i)
	}
	return p
}

// anything reads the names and texts of all settings. What is certain has been found before.
func (f *finder) anything(n *node, at place) {
	for i, part := range n.parts {
		p := at.in(n, part, i)
		if part.composed {
			f.anything(part, p)
			continue
		}
		f.named(part, p.path)
		if part.quoted {
			f.text(part, p)
		}
	}
	if n.list && strings.EqualFold(at.key, "args") {
		f.arguments(n, at.path)
	}
}

// text reads one text of any setting.
func (f *finder) text(n *node, p place) {
	path := p.path
	f.add(n, path, true, inFiles(n.text), "a private key or a login of Docker stands here, and "+refused+insteadOfLiteral)
	if i := strings.Index(n.text, Hidden); i >= 0 {
		f.add(n, path, true, []span{{i, i + len(Hidden)}}, "Wadi shows "+Hidden+" in the place of a secret; "+insteadOfLiteral)
	}
	if isMount(p.key) || isMount(p.parent) {
		spans := slices.DeleteFunc(matches(mountFlag, n.text), func(s span) bool { return isReference(n.text[s.from:s.to]) })
		f.add(n, path, true, spans, "a password stands in the options of a mount, and "+refused+insteadOfMount)
	}
	if strings.EqualFold(p.parent, "header") && isLoginHeader(p.key) { // Of a check.
		f.add(n, path, false, literal(n.text, headerValue(n.text)), "this header is a login, which is stored in clear, and shown to whoever may read the service")
	}
	f.add(n, path, false, inText(n.text), "what looks like a password or token stands here, and "+warned+insteadOfLiteral)
}

func isMount(key string) bool {
	return slices.Contains([]string{"o", "opts", "options", "mountflags", "mount_flags", "mount_options", "mountoptions"}, strings.ToLower(key))
}

// arguments reads options such as --password=x, and --password x.
func (f *finder) arguments(list *node, path string) {
	for i, n := range list.parts {
		if m := option.FindStringSubmatchIndex(n.text); m != nil && isLikelySecret(n.text[m[2]:m[3]], n.text[m[4]:m[5]]) {
			f.add(n, path, false, []span{{m[4], m[5]}}, "the option's name says that it is a secret, which "+warned+insteadOfLiteral)
		}
		if i == 0 {
			continue
		}
		before := list.parts[i-1].text
		if strings.HasPrefix(before, "-") && !strings.HasPrefix(n.text, "-") && isLikelySecret(strings.TrimLeft(before, "-"), n.text) && !strings.Contains(before, "=") {
			f.add(n, path, false, whole(n.text), "the option's name says that it is a secret, which "+warned+insteadOfLiteral)
		}
	}
}

// renamed are settings whose name in HCL is another one than in Nomad's JSON.
var renamed = map[string]string{
	"Volumes": "volume", "Services": "service", "Tasks": "task", "Checks": "check", "Templates": "template", "Artifacts": "artifact",
	"Secrets": "secret", "GetterOptions": "options", "GetterHeaders": "headers", "GetterSource": "source", "EmbeddedTmpl": "data",
}

// setting is the name in HCL of a setting in Nomad's JSON.
func setting(key string) string {
	if name, ok := renamed[key]; ok {
		return name
	}
	var b strings.Builder
	for i, r := range key {
		if unicode.IsUpper(r) && i > 0 && key[i-1] != '_' && !unicode.IsUpper(rune(key[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// maxPath bounds a path, in bytes: deep JSON would make long ones.
const maxPath = 500

func join(path, name string) string {
	switch {
	case path == "":
		return name
	case len(path) > maxPath:
		return path
	}
	return path + "." + name
}
