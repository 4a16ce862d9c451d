package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
)

const maxLogLines = 10_000 // Of each log, at the start.

// logOptions are the flags of "wadi service logs".
type logOptions struct {
	task, nomadAddress string
	follow             bool
	lines              int
}

func serviceLogsCommand() command {
	var o logOptions
	return command{
		usage: "wadi service logs [options] NAME", synopsis: "Show what the instances of a service write",
		help: `The logs come from Nomad, with the caller's token, which needs read-logs and read-job in
the service's namespace. Each line has its revision and instance before it. If no instance
runs, they are those of the latest that did. NOMAD_CACERT, NOMAD_CLIENT_CERT,
NOMAD_CLIENT_KEY, NOMAD_TLS_SERVER_NAME, NOMAD_SKIP_VERIFY and NOMAD_REGION mean what they
do for nomad. With -json every line is a line of JSON.`,
		remote: true, min: 1, max: 1,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&o.task, "task", "", "`name` of the task; none: the one that serves requests")
			fs.BoolVar(&o.follow, "follow", false, "show new lines as they are written, also of new instances, until Ctrl-C")
			fs.IntVar(&o.lines, "n", 50, "`number` of last lines of each of an instance's two logs, stdout and stderr")
			fs.StringVar(&o.nomadAddress, "nomad-address", "", "`URL` of Nomad (NOMAD_ADDR); none: http://127.0.0.1:4646")
		},
		run: func(ctx context.Context, c *call) error {
			if o.lines < 0 || o.lines > maxLogLines {
				return usagef("-n %d is not from 0 to %d", o.lines, maxLogLines)
			}
			return showLogs(ctx, c, o)
		},
	}
}

// nomadLogs reads logs from the Nomad that the flags and the environment name.
func (c *call) nomadLogs(address string) (*nomad.Logs, error) {
	logs, err := nomad.NewLogs(nomad.Config{
		Address: address, Token: c.token, Region: c.env["NOMAD_REGION"],
		CAFile: c.env["NOMAD_CACERT"], CertFile: c.env["NOMAD_CLIENT_CERT"], KeyFile: c.env["NOMAD_CLIENT_KEY"],
		TLSServerName: c.env[nomadServerName], SkipVerify: c.env["NOMAD_SKIP_VERIFY"] == "true",
	})
	if err != nil {
		return nil, usageError{err}
	}
	return logs, nil
}

func showLogs(ctx context.Context, c *call, o logOptions) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	o.nomadAddress = cmp.Or(o.nomadAddress, c.setting("NOMAD_ADDR", "http://127.0.0.1:4646"))
	logs, err := c.nomadLogs(o.nomadAddress)
	if err != nil {
		return err
	}
	w := &logWatch{call: c, client: client, logs: logs, logOptions: o, seen: map[string]*shownInstance{}}
	defer w.end()
	answered := c.noticeSlow("No answer from the agent or Nomad yet, after %s. Still waiting.")
	err = w.refresh(ctx)
	answered()
	if err != nil {
		return nilAfterInterrupt(ctx, w.remedied(err))
	}
	if !o.follow {
		return nilAfterInterrupt(ctx, w.remedied(w.failed()))
	}
	for wadi.Sleep(ctx, logRefresh) == nil {
		if err := w.failed(); err != nil {
			return w.remedied(err)
		}
		if err := w.refresh(ctx); err != nil && !w.outage.tolerates(err, time.Now()) {
			return nilAfterInterrupt(ctx, w.remedied(err))
		}
	}
	return nil // Ctrl-C is how following ends.
}

// nilAfterInterrupt is err, unless the user has ended the command.
func nilAfterInterrupt(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// shortID is the part of an instance's ID by which Nomad's tools call it.
func shortID(id string) string { return id[:min(len(id), 8)] }

func (w *logWatch) notice(format string, args ...any) {
	w.printing.Lock()
	defer w.printing.Unlock()
	writef(w.stderr, "%s\n", clean(fmt.Sprintf(format, args...)))
}
