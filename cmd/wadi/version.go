package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version of this source, unless the linker sets another.
var version = "0.1.0-dev" // A variable, as the linker sets it.

type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}

func versionText() string {
	v := buildVersion()
	text := "Wadi " + v.Version
	if v.Commit != "" {
		text += " (" + v.Commit + ")"
	}
	return fmt.Sprintf("%s, %s, %s", text, v.Go, v.Platform)
}

func versionCommand() command {
	var asJSON bool
	return command{
		usage:    "wadi version [options]",
		synopsis: "Print the version of this binary",
		flags:    func(fs *flag.FlagSet) { fs.BoolVar(&asJSON, "json", false, "print JSON") },
		run: func(_ context.Context, c *call) error {
			if asJSON {
				return c.printJSON(buildVersion())
			}
			c.printf("%s\n", versionText())
			return nil
		},
	}
}
