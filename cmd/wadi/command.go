package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// command is one command of the command line. It is built anew for every call, so its
// flags may be variables of the function that builds it.
type command struct {
	usage    string // For instance "wadi apply [options] FILE".
	synopsis string // One line, without a full stop.
	help     string // More than the usage and the flags say.
	remote   bool   // It calls an agent.
	flags    func(fs *flag.FlagSet)
	min, max int // The number of arguments; max < 0: no limit.
	failed   int // The exit code of every failure; 0: exitUsage of wrong usage, else exitFailed.
	run      func(ctx context.Context, c *call) error
}

// stdio is everything outside the process that a command may use.
type stdio struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            map[string]string
}

// call is one call of a command.
type call struct {
	stdio
	args []string
	json bool

	address, token, consulToken string
	tls                         api.TLS
}

// exitWith ends a command that has done its work with an exit code of its own.
type exitWith int

// Error implements error.
func (e exitWith) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is wrong usage of a command.
type usageError struct{ error }

// errReported is a failure that the command has already printed.
var errReported = errors.New("reported")

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (cmd command) flagSet(c *call) *flag.FlagSet {
	fs := flag.NewFlagSet("wadi", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if cmd.remote {
		fs.StringVar(&c.address, "address", c.setting("WADI_ADDR", api.DefaultAddress), "`URL` of the agent (WADI_ADDR)")
		// Tokens from the environment are no defaults, as help shows those.
		fs.StringVar(&c.token, "token", "", "Nomad `token` (NOMAD_TOKEN)")
		fs.StringVar(&c.consulToken, "consul-token", "", "Consul `token` (CONSUL_HTTP_TOKEN)")
		fs.StringVar(&c.tls.CAFile, "ca-cert", c.setting("WADI_CACERT", ""), "`file` with the authorities of agents' certificates (WADI_CACERT); none: the system's")
		fs.StringVar(&c.tls.CertFile, "client-cert", c.setting("WADI_CLIENT_CERT", ""), "`file` with a certificate for agents that ask for one (WADI_CLIENT_CERT)")
		fs.StringVar(&c.tls.KeyFile, "client-key", c.setting("WADI_CLIENT_KEY", ""), "`file` with its key (WADI_CLIENT_KEY)")
		fs.StringVar(&c.tls.ServerName, "tls-server-name", c.setting("WADI_TLS_SERVER_NAME", ""), "`name` in the agent's certificate (WADI_TLS_SERVER_NAME); none: the host of the address")
		fs.BoolVar(&c.json, "json", false, "print JSON")
	}
	if cmd.flags != nil {
		cmd.flags(fs)
	}
	return fs
}

func (cmd command) helpText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n  %s.\n", cmd.usage, cmd.synopsis)
	if cmd.help != "" {
		b.WriteString("\n")
		for line := range strings.SplitSeq(strings.TrimSpace(cmd.help), "\n") {
			b.WriteString(strings.TrimRight("  "+line, " ") + "\n")
		}
	}
	fs := cmd.flagSet(&call{})
	var list strings.Builder
	fs.SetOutput(&list)
	fs.PrintDefaults()
	if list.Len() > 0 {
		b.WriteString("\nOptions:\n\n" + strings.TrimRight(list.String(), "\n"))
	}
	return b.String()
}

func (cmd command) invoke(ctx context.Context, w stdio, args []string) int {
	c := &call{stdio: w}
	fs := cmd.flagSet(c)
	err := fs.Parse(args)
	if err == nil {
		c.args = fs.Args()
		err = cmd.checkArgs(c.args)
	} else {
		err = usageError{err}
	}
	c.takeTokens()
	if err == nil {
		err = cmd.run(ctx, c)
	}
	var usage usageError
	var exit exitWith
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		w.errorf("%v\nUsage: %s (-h for more)", err, cmd.usage)
		return cmp.Or(cmd.failed, exitUsage)
	case !errors.Is(err, errReported):
		c.fail(err)
	}
	return cmp.Or(cmd.failed, exitFailed)
}

// takeTokens takes the tokens that no flag set from the environment.
func (c *call) takeTokens() {
	if c.token == "" {
		c.token = c.env["NOMAD_TOKEN"]
	}
	if c.consulToken == "" {
		c.consulToken = c.env["CONSUL_HTTP_TOKEN"]
	}
}

func (cmd command) checkArgs(args []string) error {
	for _, a := range args {
		if len(a) > 1 && a[0] == '-' {
			return usagef("the flag %s comes after an argument; flags come first", a)
		}
	}
	switch n := len(args); {
	case n < cmd.min:
		return usagef("an argument is missing")
	case cmd.max >= 0 && n > cmd.max:
		return usagef("too many arguments: %s", strings.Join(args[cmd.max:], " "))
	}
	return nil
}

// asRefusal is the agent's refusal that err is, if it is one.
func asRefusal(err error) (*api.Error, bool) {
	var refusal *api.Error
	return refusal, errors.As(err, &refusal)
}

// client is a client of the agent that the flags name.
func (c *call) client() (*api.Client, error) {
	client, err := api.New(api.Config{Address: c.address, Token: c.token, ConsulToken: c.consulToken, TLS: c.tls})
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}

func (w stdio) setting(key, def string) string {
	if v := w.env[key]; v != "" {
		return v
	}
	return def
}

// fail prints an error, one line for each mistake, with a remedy if there is one.
func (c *call) fail(err error) {
	var refusal *api.Error
	isRefusal := errors.As(err, &refusal)
	if c.json {
		out := map[string]any{"error": err.Error()}
		if isRefusal {
			out["error"], out["status"] = refusal.Message, refusal.Status
			if len(refusal.Details) > 0 {
				out["details"] = refusal.Details
			}
		}
		_ = c.printJSON(out)
		return
	}
	c.errorf("%v", err)
	switch {
	case isRefusal && refusal.Status == 401:
		writef(c.stderr, "Set a Nomad token with -token or NOMAD_TOKEN.\n")
	case !isRefusal && errors.Is(err, wadi.ErrUnavailable):
		writef(c.stderr, "Is an agent running there? Start one with \"wadi agent\", or name another address with -address or WADI_ADDR.\n")
	}
}

func (l *stringList) String() string     { return strings.Join(*l, ", ") }
func (l *stringList) Set(v string) error { *l = append(*l, v); return nil }

// stringList is a flag that may be repeated.
type stringList []string
