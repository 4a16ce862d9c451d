package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	helperPrefix  = "docker-credential-"
	helperTimeout = 5 * time.Second
	maxHelper     = 64 << 10 // Bytes of its answer.
)

// helperRule is for names of helpers, which become names of programs.
var helperRule = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// askHelper asks a program by Docker's protocol of credential helpers. No credentials are no
// error. What the program writes is never shown: it may be a secret.
func askHelper(ctx context.Context, name, server string) (login, error) {
	program := helperPrefix + name
	path, err := exec.LookPath(program)
	if err != nil {
		return login{}, credentialsProblem(fmt.Sprintf("the agent has no program %s, which its Docker configuration names", program))
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	out := &head{left: maxHelper}
	cmd := exec.CommandContext(ctx, path, "get")
	cmd.Stdin, cmd.Stdout, cmd.Env = strings.NewReader(server), out, helperEnv(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // With its children.
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return login{}, credentialsProblem(fmt.Sprintf("the agent's %s did not answer within %s", program, helperTimeout))
	case err != nil && bytes.Contains(out.kept.Bytes(), []byte("credentials not found")):
		return login{}, nil
	case err != nil:
		return login{}, credentialsProblem(fmt.Sprintf("the agent's %s failed%s", program, exitOf(err)))
	}
	var said struct{ Username, Secret string }
	if json.Unmarshal(out.kept.Bytes(), &said) != nil || said.Secret == "" {
		return login{}, credentialsProblem(fmt.Sprintf("what the agent's %s answers are no credentials", program))
	}
	if said.Username == "<token>" {
		return login{identityToken: said.Secret}, nil
	}
	return login{username: said.Username, password: said.Secret}, nil
}

func exitOf(err error) string {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Sprintf(" with code %d", exit.ExitCode())
	}
	return ""
}

// helperEnv is the agent's environment without its own tokens.
func helperEnv(all []string) (out []string) {
	for _, v := range all {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "NOMAD_") && !strings.HasPrefix(name, "CONSUL_") {
			out = append(out, v)
		}
	}
	return out
}

// head keeps the first bytes that are written.
type head struct {
	kept bytes.Buffer // Not embedded: io.Copy would fill it without Write.
	left int
}

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.left)
	h.left -= n
	h.kept.Write(p[:n])
	return len(p), nil // More is dropped: an error would end the program in another way.
}
