package harnesstest

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Step is a block of commands of a page, and the lines that their output has to contain.
type Step struct {
	Line   int // Of the page.
	Script string
	Want   []string
}

// Steps are the blocks "sh" of a page, each with the block "text" that may follow it. A
// block "hcl" whose first line is a comment with the name of a file, such as # hello.hcl,
// is a step that writes this file.
func Steps(path string) ([]Step, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []Step
	fence, at := "", 0
	var block []string
	for i, line := range strings.Split(string(b), "\n") {
		switch mark, isFence := strings.CutPrefix(line, "```"); {
		case isFence && fence == "":
			fence, at, block = "```"+mark, i+1, nil
		case isFence && fence == "```sh":
			out, fence = append(out, Step{Line: at, Script: strings.Join(block, "\n")}), ""
		case isFence && fence == "```hcl" && len(block) > 0 && fileName.MatchString(block[0]):
			out, fence = append(out, Step{Line: at, Script: "cat > " + strings.TrimPrefix(block[0], "# ") + " <<'END OF FILE'\n" + strings.Join(block, "\n") + "\nEND OF FILE"}), ""
		case isFence && fence == "```text":
			if len(out) == 0 {
				return nil, fmt.Errorf("%s:%d: no commands before it", path, at)
			}
			out[len(out)-1].Want, fence = block, ""
		case isFence:
			fence = ""
		case fence != "":
			block = append(block, line)
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("%s:%d: the block does not end", path, at)
	}
	if len(out) == 0 {
		return nil, errors.New("the page has no commands")
	}
	return out, nil
}

// fileName matches the first line of a block that is a file.
var fileName = regexp.MustCompile(`^# [a-z]+\.hcl$`)

// Missing is the first line that an output lacks; empty if it has all.
func (s Step) Missing(output string) string {
	for _, line := range s.Want {
		if !strings.Contains(output, strings.TrimSpace(line)) {
			return line
		}
	}
	return ""
}
