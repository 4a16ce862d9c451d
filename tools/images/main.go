// Command images builds the container images of a release, for each platform, without a
// container engine and without emulation.
//
// It promises that the same commit, Go and version give the same digests, whatever the folder
// and the machine: files are in order, have the commit's time and no owner's name, and
// programs have no path of the machine in them. Beside each image it writes what is in it
// (CycloneDX). It builds on no other image: there is nothing in an image but what is listed
// in parts.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
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

// platforms are all that images are built for.
var platforms = []string{"linux/amd64", "linux/arm64"}

// options are the parsed flags.
type options struct {
	version, revision string
	out, root         string
	prefix            string   // Of names in an engine, without a slash at its end.
	push              string   // Prefix of repositories of a registry; empty: nothing is pushed.
	load              bool     // Into an engine.
	tags              []string // The version, and what -tags adds.
	images, platforms []string
	created           time.Time
}

func parse(args []string, errOut io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("images", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.StringVar(&o.version, "version", "", "`version` of the programs, and tag of the images; required")
	fs.StringVar(&o.revision, "revision", "", "`commit` that is built")
	fs.StringVar(&o.out, "out", "dist", "`folder` of the images")
	fs.StringVar(&o.root, "root", ".", "`folder` of the checkout")
	fs.StringVar(&o.prefix, "prefix", "wadi", "`name` before those of images in an engine")
	fs.StringVar(&o.push, "push", "", "push to repositories below `REGISTRY/PREFIX`, with the credentials of Docker's configuration")
	fs.BoolVar(&o.load, "load", false, "load this machine's platform into the engine that the command docker talks to (DOCKER_HOST)")
	tags := fs.String("tags", "", "`list` of more tags, separated by commas")
	named := fs.String("images", "wadi,queue-proxy", "`list` of images, separated by commas")
	only := fs.String("platforms", strings.Join(platforms, ","), "`list` of systems, separated by commas")
	epoch := fs.String("epoch", os.Getenv("SOURCE_DATE_EPOCH"), "`seconds` since 1970: the time of all files (SOURCE_DATE_EPOCH)")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.images, o.platforms = split(*named), split(*only)
	o.tags = unique(append([]string{o.version}, split(*tags)...))
	o.prefix, o.push = strings.TrimRight(o.prefix, "/"), strings.TrimRight(o.push, "/")
	seconds, err := strconv.ParseInt(*epoch, 10, 64)
	if err != nil || seconds < 0 {
		return o, fmt.Errorf("-epoch %q is no number of seconds", *epoch)
	}
	o.created = time.Unix(seconds, 0).UTC()
	if fs.NArg() > 0 {
		return o, fmt.Errorf("too many arguments: %s", strings.Join(fs.Args(), " "))
	}
	return o, o.check()
}

// check says what is wrong with options.
func (o options) check() error {
	if o.version == "" {
		return errors.New("-version is required")
	}
	for _, t := range o.tags {
		if !isTag(t) {
			return fmt.Errorf("%q is no tag of an image: letters, digits, and . _ - within, 128 at most", t)
		}
	}
	if len(o.images) == 0 || len(o.platforms) == 0 {
		return errors.New("-images and -platforms each need one")
	}
	for _, i := range o.images {
		if _, ok := parts[i]; !ok {
			return fmt.Errorf("there is no image %q; there are %s", i, strings.Join(imageNames(), ", "))
		}
	}
	for _, p := range o.platforms {
		if !slices.Contains(platforms, p) {
			return fmt.Errorf("there is no image for %q; there is for %s", p, strings.Join(platforms, ", "))
		}
	}
	if here := "linux/" + runtime.GOARCH; o.load && !slices.Contains(o.platforms, here) {
		return fmt.Errorf("-load loads %s, which is not among -platforms", here)
	}
	return nil
}

// isTag reports whether a registry takes t as a tag. "+" of a version is none.
func isTag(t string) bool {
	if t == "" || len(t) > 128 || strings.ContainsAny(t[:1], ".-") {
		return false
	}
	return !strings.ContainsFunc(t, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	})
}

func split(list string) []string {
	return unique(strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' }))
}

// unique keeps the first of equal texts.
func unique(all []string) (out []string) {
	for _, s := range all {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// run is main without the process.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	o, err := parse(args, errOut)
	if err != nil {
		fmt.Fprintf(errOut, "Error: %v\n", err)
		return 2
	}
	if err := o.release(ctx, out); err != nil {
		fmt.Fprintf(errOut, "Error: %v\n", err)
		return 1
	}
	return 0
}
