package harnesstest

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stepTimeout bounds a block of commands.
const stepTimeout = 6 * time.Minute

// Shell is one shell that runs the blocks of a page, as an operator's terminal does.
type Shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *output
}

// output collects what the shell writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // Has an element when there is more.
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
	return o.text.Write(b)
}

// upTo returns and forgets the text before mark, once it is there.
func (o *output) upTo(mark string) (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, after, ok := strings.Cut(o.text.String(), mark)
	if ok {
		o.text.Reset()
		o.text.WriteString(after)
	}
	return before, ok
}

// rest is the text that was not forgotten.
func (o *output) rest() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// NewShell starts a shell in a folder. It ends with the test.
func NewShell(t *testing.T, dir string, env []string) *Shell {
	t.Helper()
	s := &Shell{cmd: exec.Command("bash", "--norc", "--noprofile"), out: &output{more: make(chan struct{}, 1)}}
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = dir, env, s.out, s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start a shell: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // With what a block has left running.
		_ = s.cmd.Wait()
	})
	return s
}

// Run runs a block. The first command that fails ends it, and the test.
func (s *Shell) Run(t *testing.T, st Step) string {
	t.Helper()
	const mark = "\n@@ended@@ "
	began := time.Now()
	// In the shell itself, so that what it exports stays; commands read nothing of ours.
	_, err := fmt.Fprintf(s.in, "set -eo pipefail\ntrap 'printf \"\\n@@ended@@ %%s\\n\" failed' EXIT\n{\n%s\n} </dev/null\nprintf '\\n@@ended@@ %%s\\n' done\n", st.Script)
	if err != nil {
		t.Fatalf("line %d: %v", st.Line, err)
	}
	late := time.NewTimer(stepTimeout)
	defer late.Stop()
	for {
		if text, ok := s.out.upTo(mark + "done\n"); ok {
			t.Logf("line %d (%.1fs):\n%s", st.Line, time.Since(began).Seconds(), text)
			return text
		}
		if text, ok := s.out.upTo(mark + "failed\n"); ok {
			t.Fatalf("line %d failed:\n%s\n%s", st.Line, st.Script, text)
		}
		select {
		case <-s.out.more:
		case <-late.C:
			t.Fatalf("line %d did not end within %s:\n%s\n%s", st.Line, stepTimeout, st.Script, s.out.rest())
		}
	}
}
