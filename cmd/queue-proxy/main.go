// Command queue-proxy is the sidecar in front of an app. It is configured by its
// environment only; see package queue.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/proxy/queue"
)

// version is set when a release is linked.
var version = "dev"

const usage = `Usage: queue-proxy [-version] [-pause]

The sidecar of a Wadi instance. It is configured by its environment:

  WADI_SERVICE, WADI_REVISION   whose instance this is (required)
  WADI_INSTANCE                 allocation ID
  WADI_LISTEN                   traffic listener, host:port (required)
  WADI_ADMIN, WADI_METRICS      admin (loopback) and metrics listeners (required)
  WADI_TARGET                   the app, host:port (required)
  WADI_ENVOY                    where Envoy takes the mesh's calls: not ready before it does
  WADI_PROTOCOL                 http1 (default), h2c or grpc
  WADI_CONCURRENCY_LIMIT        requests in the app at once; 0, the default, is no limit
  WADI_QUEUE_DEPTH              requests that may wait; 0, the default, is 10 x limit
  WADI_MAX_IN_FLIGHT            bound where there is no limit; default by NOMAD_MEMORY_LIMIT: 938 for 64 MiB, 1000 if that
                                is not set
  WADI_TIMEOUT_REQUEST          whole request, 300s
  WADI_TIMEOUT_RESPONSE_START   until the answer begins; 0s is none
  WADI_TIMEOUT_IDLE             between bytes of the answer; 0s is none
  WADI_PROBE                    JSON: {"http": "/healthz", "timeout": "1s"}; default TCP
  WADI_DRAIN_TIMEOUT            longest drain, default WADI_TIMEOUT_REQUEST
  WADI_QUIET                    JSON list of paths that are not counted as activity
  WADI_HISTORY                  how long statistics are kept, 3600s
  WADI_LOG_LEVEL                trace, debug, info (default), warn, error or off
  WADI_ACCESS_LOG               true: one JSON line for each request on standard output
  WADI_SHIELD                   true: close this network by nft but for WADI_ENVOY, WADI_METRICS and the ports in
                                NOMAD_PORT_*; needs WADI_ENVOY, a bridge network, and root

SIGTERM and SIGINT drain and end it; a second one ends it at once.

With -pause it does nothing until then: it is the process of a container that only holds a
network, as infra_image of Nomad's Docker driver has one.
`

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	manageMemory(os.Getenv)
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

func run(args, environ []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("queue-proxy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = io.WriteString(stderr, usage) }
	showVersion := flags.Bool("version", false, "print the version")
	pause := flags.Bool("pause", false, "do nothing until a signal")
	if err := flags.Parse(args); err == flag.ErrHelp {
		return exitDone
	} else if err != nil {
		return exitUsage
	}
	if *showVersion {
		return print(stdout, "queue-proxy %s\n", version)
	}
	if flags.NArg() > 0 {
		flags.Usage()
		return exitUsage
	}
	if *pause {
		return waitForSignal()
	}
	cfg, errs := queue.ParseEnv(environ)
	for _, err := range errs {
		print(stderr, "queue-proxy: %v\n", err)
	}
	if len(errs) > 0 {
		return exitUsage
	}
	return serve(cfg, stdout, stderr)
}

// print writes a line and returns the exit code.
func print(w io.Writer, format string, args ...any) int {
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		return exitFailed
	}
	return exitDone
}

// waitForSignal returns at the first SIGTERM or SIGINT.
func waitForSignal() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	<-ctx.Done()
	return exitDone
}

func serve(cfg queue.Config, stdout, stderr io.Writer) int {
	log := hclog.New(&hclog.LoggerOptions{Name: "queue-proxy", Level: cfg.LogLevel, Output: stderr})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // The second signal ends the process at once.
	p, err := queue.New(ctx, cfg, log, stdout)
	if err == nil {
		err = p.Run(ctx)
	}
	if err != nil {
		log.Error("queue-proxy ends", "error", err)
		return exitFailed
	}
	return exitDone
}
