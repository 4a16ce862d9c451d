// Command openapi keeps api/openapi.json, the description of an agent's HTTP API, in step
// with the code: it writes the schemas of the bodies anew, from the Go types and their
// comments, and the reference in docs/api.md from that. Paths and parameters in the file
// are written by hand; a test of agent/server compares them with the routes.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "`directory` of the checkout")
	flag.Parse()
	if err := update(*root); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

// The files, below a checkout's directory.
const (
	documentFile = "api/openapi.json"
	pageFile     = "docs/api.md"
)

func update(root string) error {
	files, err := renewed(root)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// renewed returns the files as they should be.
func renewed(root string) (map[string]string, error) {
	document, err := os.ReadFile(filepath.Join(root, documentFile))
	if err != nil {
		return nil, err
	}
	page, err := os.ReadFile(filepath.Join(root, pageFile))
	if err != nil {
		return nil, err
	}
	if document, err = renew(root, document); err != nil {
		return nil, fmt.Errorf("%s: %w", documentFile, err)
	}
	text, err := renewPage(string(page), document)
	return map[string]string{documentFile: string(document), pageFile: text}, err
}

// renew returns the document with the schemas that the code has now, in its one layout: keys
// sorted, two spaces.
func renew(root string, document []byte) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, err
	}
	types, err := load(root)
	if err != nil {
		return nil, err
	}
	components, _ := doc["components"].(map[string]any)
	if components == nil {
		return nil, errors.New("it has no components")
	}
	delete(components, "schemas")
	schemas, err := types.schemas(refs(doc), bodies(doc))
	if err != nil {
		return nil, err
	}
	components["schemas"] = schemas
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(doc)
	return out.Bytes(), err
}
