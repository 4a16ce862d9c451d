// Command wadi is the agent and the command line of Wadi.
//
// It promises exit code 0 on success, 1 on failure and 2 on wrong usage (plan has those of
// Nomad's plan); that with -json
// standard output has nothing but JSON; and that colours and updating lines go to
// terminals only.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/cli"
	_ "golang.org/x/crypto/x509roots/fallback" // Authorities where the machine, such as an image with nothing else, has none.
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
	stop()
	os.Exit(code)
}

// commands is the table of all commands.
func commands() map[string]command {
	return map[string]command{
		"agent":            agentCommand(),
		"apply":            applyCommand(),
		"convert":          convertCommand(),
		"doctor":           doctorCommand(),
		"events":           eventsCommand(),
		"explain":          explainCommand(),
		"fmt":              fmtCommand(),
		"init":             initCommand(),
		"plan":             planCommand(),
		"reload":           reloadCommand(),
		"revision delete":  revisionDeleteCommand(),
		"revision inspect": revisionInspectCommand(),
		"revision job":     revisionJobCommand(),
		"revision list":    revisionListCommand(),
		"revision pin":     revisionPinCommand(),
		"rollout check":    rolloutCheckCommand(),
		"rollback":         rollbackCommand(),
		"rollout abort":    rolloutAbortCommand(),
		"rollout pause":    rolloutPauseCommand(),
		"rollout resume":   rolloutResumeCommand(),
		"rollout status":   rolloutStatusCommand(),
		"scale replay":     scaleReplayCommand(),
		"service delete":   serviceDeleteCommand(),
		"service inspect":  serviceInspectCommand(),
		"service list":     serviceListCommand(),
		"service logs":     serviceLogsCommand(),
		"service scale":    serviceScaleCommand(),
		"service status":   serviceStatusCommand(),
		"traffic":          trafficCommand(),
		"validate":         validateCommand(),
		"version":          versionCommand(),
	}
}

// run is main without the process. It ends early when ctx does, and returns the exit code.
// env holds KEY=value pairs.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	w := stdio{stdin: stdin, stdout: stdout, stderr: stderr, env: environment(env)}
	reached := false // A command ran, so the exit code is that command's.
	factories := map[string]cli.CommandFactory{}
	for name, c := range commands() {
		factories[name] = func() (cli.Command, error) {
			return &adapter{completion: completion{ctx, c, w}, invoke: func(args []string) int {
				reached = true
				return c.invoke(ctx, w, args)
			}}, nil
		}
	}
	for name, synopsis := range map[string]string{
		"service":  "Show, scale and delete services",
		"revision": "Show, pin and delete the revisions of a service",
		"rollout":  "Show, compare, pause, resume and abort rollouts",
		"scale":    "Replay scaling decisions",
	} {
		factories[name] = func() (cli.Command, error) { return group(synopsis), nil }
	}
	app := &cli.CLI{
		Name: "wadi", Version: versionText(), Args: args, Commands: factories,
		HelpFunc: topHelp, HelpWriter: stdout, ErrorWriter: stderr, Autocomplete: true,
	}
	code, err := app.Run()
	if err != nil {
		w.errorf("%v", err)
		return exitFailed
	}
	if code != exitDone && !reached { // Flags before the command, or an unknown command.
		if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			w.errorf("there is no command \"wadi %s\"", strings.Join(args, " "))
		}
		return exitUsage
	}
	return code
}

// topHelp is the help for wadi itself.
func topHelp(commands map[string]cli.CommandFactory) string {
	return cli.BasicHelpFunc("wadi")(commands) + `

Options:
    -autocomplete-install      Complete commands, flags and names in your bash, zsh or fish
    -autocomplete-uninstall    Undo that
    -version                   Print the version of this binary

"wadi COMMAND -h" says more. Exit codes: 0 done, 1 failed, 2 wrong usage.`
}

func environment(pairs []string) map[string]string {
	out := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		out[k] = v
	}
	return out
}

// adapter makes a command usable by the cli library.
type adapter struct {
	completion
	invoke func(args []string) int
}

func (a *adapter) Help() string          { return a.command.helpText() }
func (a *adapter) Synopsis() string      { return a.command.synopsis }
func (a *adapter) Run(args []string) int { return a.invoke(args) }

// group is a command that only has commands below it.
type group string

func (g group) Help() string     { return string(g) + "." }
func (g group) Synopsis() string { return string(g) }
func (g group) Run([]string) int { return cli.RunResultHelp }
