// Command dist builds the archives of a release, and the file with their checksums.
//
// It promises that the same commit, Go and version give the same bytes: files are in order,
// have the commit's time and no owner, and programs have no path of the machine in them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// platforms are all systems that have an archive.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

// options are the parsed flags.
type options struct {
	version, out, root string
	platforms          []string
	modified           time.Time
}

func parse(args []string, errOut io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("dist", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.StringVar(&o.version, "version", "", "`version` in the names of the archives, and of the programs; required")
	fs.StringVar(&o.out, "out", "dist", "`folder` of the archives")
	fs.StringVar(&o.root, "root", ".", "`folder` of the checkout")
	only := fs.String("platforms", strings.Join(platforms, ","), "`list` of systems, separated by commas")
	epoch := fs.String("epoch", os.Getenv("SOURCE_DATE_EPOCH"), "`seconds` since 1970: the time of all files (SOURCE_DATE_EPOCH)")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	for p := range strings.SplitSeq(*only, ",") {
		if !slices.Contains(platforms, p) {
			return o, fmt.Errorf("there is no archive for %q; there is for %s", p, strings.Join(platforms, ", "))
		}
		o.platforms = append(o.platforms, p)
	}
	seconds, err := strconv.ParseInt(*epoch, 10, 64)
	switch {
	case err != nil || seconds < 0:
		return o, fmt.Errorf("-epoch %q is no number of seconds", *epoch)
	case o.version == "" || strings.ContainsAny(o.version, "/\\ "):
		return o, fmt.Errorf("-version %q: a name without spaces and slashes is required", o.version)
	case fs.NArg() > 0:
		return o, fmt.Errorf("too many arguments: %s", strings.Join(fs.Args(), " "))
	}
	o.modified = time.Unix(seconds, 0).UTC()
	return o, nil
}

// run is main without the process.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	o, err := parse(args, errOut)
	if err != nil {
		fmt.Fprintf(errOut, "Error: %v\n", err)
		return 2
	}
	if err := release(ctx, o, out); err != nil {
		fmt.Fprintf(errOut, "Error: %v\n", err)
		return 1
	}
	return 0
}

// release builds all archives, and then the file of checksums.
func release(ctx context.Context, o options, out io.Writer) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	var names []string
	for _, platform := range o.platforms {
		began := time.Now()
		name, err := o.archive(ctx, platform)
		if err != nil {
			return fmt.Errorf("build for %s: %w", platform, err)
		}
		names = append(names, name)
		fmt.Fprintf(out, "%s (%.1fs)\n", filepath.Join(o.out, name), time.Since(began).Seconds())
	}
	sums := fmt.Sprintf("wadi_%s_SHA256SUMS", o.version)
	if err := writeSums(o.out, sums, names); err != nil {
		return fmt.Errorf("write checksums: %w", err)
	}
	fmt.Fprintln(out, filepath.Join(o.out, sums))
	return nil
}
