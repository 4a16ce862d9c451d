//go:build e2e

package operations_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// step is a block of commands of a page, and the lines that their output has to contain.
type step struct {
	line   int
	script string
	want   []string
}

// steps are the blocks "sh" of a page, each with the block "text" that may follow it.
func steps(path string) ([]step, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []step
	fence, at := "", 0
	var block []string
	for i, line := range strings.Split(string(b), "\n") {
		switch mark, isFence := strings.CutPrefix(line, "```"); {
		case isFence && fence == "":
			fence, at, block = "```"+mark, i+1, nil
		case isFence && fence == "```sh":
			out, fence = append(out, step{line: at, script: strings.Join(block, "\n")}), ""
		case isFence && fence == "```text":
			if len(out) == 0 {
				return nil, fmt.Errorf("%s:%d: no commands before it", path, at)
			}
			out[len(out)-1].want, fence = block, ""
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

// missing is the first line that an output lacks; empty if it has all.
func (s step) missing(output string) string {
	for _, line := range s.want {
		if !strings.Contains(output, strings.TrimSpace(line)) {
			return line
		}
	}
	return ""
}
