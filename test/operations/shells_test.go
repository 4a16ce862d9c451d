//go:build e2e

package operations_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// The files for completion work in the shells themselves.
func TestCompletion_Shells(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "packaging/completion")
	ran := 0
	for shell, script := range map[string]string{
		"bash": `source ` + folder + `/wadi.bash && complete -p wadi && COMP_LINE="wadi service sta" wadi`,
		"fish": `source ` + folder + `/wadi.fish; complete -C "wadi service sta"`,
		"zsh":  zshScript(folder),
	} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("skipped: there is no %s", shell)
			}
			ran++
			cmd := exec.CommandContext(t.Context(), shell, "-c", script)
			cmd.Dir, cmd.WaitDelay = t.TempDir(), time.Minute
			cmd.Env = append(os.Environ(), "HOME="+cmd.Dir, "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "status") {
				t.Errorf("%v: %q", err, out)
			}
		})
	}
	if ran == 0 {
		t.Error("no shell was there")
	}
}

// zshScript has zsh's completion call the file as it does when Tab is pressed, and prints
// what it adds.
func zshScript(folder string) string {
	return `words=(wadi service sta) CURRENT=3
compadd() { print -r -- "$@"; }
source ` + folder + `/_wadi`
}
