// Package programs builds the programs of a release for any platform.
//
// It promises that the same source, Go and version give the same bytes, whatever the folder,
// the machine and the builder's own settings. It builds nothing that needs a C compiler.
package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Source is what programs are built from.
type Source struct {
	Root    string // Folder of the checkout.
	Version string // The version that the programs print.
}

// Build builds a program's package, such as "./cmd/wadi", for a platform, such as
// "linux/arm64", as the file out.
func (s Source) Build(ctx context.Context, platform, pkg, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	system, arch, _ := strings.Cut(platform, "/")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+s.Version, "-o", out, pkg)
	cmd.Dir = s.Root
	cmd.Env = Env(os.Environ(), system, arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// Env is the environment of a build for a platform. What the builder has set for programs
// of its own does not get into a release, which runs on any processor of its kind. Empty, GOFLAGS
// would be what "go env -w" has set.
func Env(own []string, system, arch string) []string {
	return append(slices.Clone(own), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-trimpath", "GOEXPERIMENT=", "GOWORK=off", "GOFIPS140=off")
}
