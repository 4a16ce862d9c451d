package main

import (
	"maps"
	"slices"
	"strings"
)

// part is one of the images.
type part struct {
	title, description string
	// programs are the image's files: by path, the package that a program is built from. In
	// a path, %s is a platform: the file is there once for each that images are built for.
	programs map[string]string
	folders  []string // Empty ones, of the image's user.
	entry    []string
	args     []string
	ports    []string
}

// nobody is the user of all images: no program of ours needs rights on its machine. Only the
// shield of instances does, and it needs the machine's nft, so not a container.
const nobody = 65532

// parts are all images.
var parts = map[string]part{
	"wadi": {
		title:       "wadi",
		description: "Agent and commands of Wadi: serverless for Nomad and Consul",
		programs: map[string]string{
			"wadi":                  "./cmd/wadi",
			"assets/queue-proxy_%s": "./cmd/queue-proxy",
		},
		folders: []string{"var/lib/wadi"},
		entry:   []string{"/wadi"},
		args:    []string{"agent", "-config", "/etc/wadi"},
		ports:   []string{"4747/tcp", "4748/tcp", "4749/tcp", "8080/tcp"},
	},
	"queue-proxy": {
		title:       "wadi-queue-proxy",
		description: "The sidecar of each instance of a Wadi service",
		programs:    map[string]string{"queue-proxy": "./cmd/queue-proxy"},
		entry:       []string{"/queue-proxy"},
	},
	"hello": {
		title:       "wadi-hello",
		description: "Wadi's example app: it answers HTTP on $PORT",
		programs:    map[string]string{"hello": "./jobspecs/examples/hello"},
		entry:       []string{"/hello"},
	},
}

func imageNames() []string { return slices.Sorted(maps.Keys(parts)) }

// program is one file of an image.
type program struct {
	path, pkg, platform string
}

// files are the programs of the image for a platform, sorted.
func (p part) files(platform string) (out []program) {
	for path, pkg := range p.programs {
		if !strings.Contains(path, "%s") {
			out = append(out, program{path, pkg, platform})
			continue
		}
		for _, each := range platforms {
			out = append(out, program{strings.Replace(path, "%s", strings.ReplaceAll(each, "/", "_"), 1), pkg, each})
		}
	}
	slices.SortFunc(out, func(a, b program) int { return strings.Compare(a.path, b.path) })
	return out
}
