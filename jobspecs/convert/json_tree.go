package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// node is a JSON value with its line.
type node struct {
	line   int // 0: unknown.
	value  any // A string, number, bool or nil.
	keys   []string
	fields map[string]*node // Of an object.
	list   []*node          // Of an array.
}

// maxDepth bounds the nesting of a source; jobs have less than 20.
const maxDepth = 100

// empty reports whether a value says nothing.
func (n *node) empty() bool {
	return len(n.fields) == 0 && len(n.list) == 0 && (n.value == nil || n.value == "" || n.value == false || n.value == json.Number("0"))
}

func (n *node) text() string {
	s, _ := n.value.(string)
	return s
}

// treeReader reads JSON with the lines of its values.
type treeReader struct {
	src     []byte
	dec     *json.Decoder
	line    int
	counted int // Bytes of src in line.
}

// parseTree reads src. The line is that of an error.
func parseTree(src []byte) (*node, int, error) {
	r := &treeReader{src: src, dec: json.NewDecoder(bytes.NewReader(src)), line: 1}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err == nil && len(bytes.TrimSpace(src[r.dec.InputOffset():])) > 0 {
		err = errors.New("there is more behind the first JSON value")
	}
	return n, r.at(), err
}

// at is the line up to where the decoder has read; 0 if all is on one line, as an API
// answers, which no user has seen.
func (r *treeReader) at() int {
	if !bytes.Contains(bytes.TrimSpace(r.src), []byte{'\n'}) {
		return 0
	}
	to := int(r.dec.InputOffset())
	r.line += bytes.Count(r.src[r.counted:to], []byte{'\n'})
	r.counted = to
	return r.line
}

func (r *treeReader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: r.at()}
	switch t {
	case json.Delim('{'):
		n.fields = map[string]*node{}
		for r.dec.More() {
			k, err := r.dec.Token()
			if err != nil {
				return nil, err
			}
			key, line := k.(string), r.at()
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			v.line = line
			if n.fields[key] == nil {
				n.keys = append(n.keys, key)
			}
			n.fields[key] = v
		}
	case json.Delim('['):
		for r.dec.More() {
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, v)
		}
	default:
		n.value = t
		return n, nil
	}
	_, err = r.dec.Token() // The closing bracket.
	return n, err
}
