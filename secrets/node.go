package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth bounds the nesting of JSON, as encoding/json does.
const maxDepth = 10_000

// node is a value in JSON with its place. A key that stands twice in an object is two parts
// of it.
type node struct {
	key      string // In its object.
	place    span   // In the JSON.
	composed bool   // An object or a list.
	list     bool
	quoted   bool
	text     string // Of a string, a number or a bool; empty: null.
	parts    []*node
}

// parse reads JSON.
func parse(data []byte) (*node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	top := &node{composed: true, list: true}
	open, keys := []*node{top}, []string{""}
	for {
		before := int(dec.InputOffset())
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		after := int(dec.InputOffset())
		in := open[len(open)-1]
		if d, ok := token.(json.Delim); ok && (d == '}' || d == ']') {
			in.place.to = after
			open, keys = open[:len(open)-1], keys[:len(keys)-1]
			continue
		}
		last := &keys[len(keys)-1]
		if text, ok := token.(string); ok && !in.list && *last == "" {
			*last = "=" + text // Never empty.
			continue
		}
		n := &node{key: strings.TrimPrefix(*last, "="), place: span{before + len(data[before:after]) - len(bytes.TrimLeft(data[before:after], " \t\r\n,:")), after}}
		*last = ""
		in.parts = append(in.parts, n)
		switch v := token.(type) {
		case json.Delim:
			n.composed, n.list = true, v == '['
			if open, keys = append(open, n), append(keys, ""); len(open) > maxDepth {
				return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
			}
		case string:
			n.quoted, n.text = true, v
		case nil:
		default:
			n.text = fmt.Sprint(v)
		}
	}
	if len(open) != 1 || len(top.parts) != 1 {
		return nil, errors.New("it is not one value")
	}
	return top.parts[0], nil
}

// all are the values of a key. Nomad reads its own keys in any case of letters.
func (n *node) all(key string) (found []*node) {
	if n == nil || n.list {
		return nil
	}
	for _, p := range n.parts {
		if strings.EqualFold(p.key, key) {
			found = append(found, p)
		}
	}
	return found
}

// elements are the elements of the lists under a key.
func (n *node) elements(key string) (found []*node) {
	for _, l := range n.all(key) {
		if l.list {
			found = append(found, l.parts...)
		}
	}
	return found
}

// entries are the entries of the objects under a key.
func (n *node) entries(key string) (found []*node) {
	for _, o := range n.all(key) {
		if !o.list {
			found = append(found, o.parts...)
		}
	}
	return found
}

// value is the text under a key; empty: none.
func (n *node) value(key string) string {
	for _, v := range n.all(key) {
		if v.text != "" {
			return v.text
		}
	}
	return ""
}
