package main

import "strings"

const schemaRef = "#/components/schemas/"

// refs returns the names of the schemas that a part of the document names, each once.
func refs(part any) []string {
	var out []string
	seen := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, _ := v["$ref"].(string); strings.HasPrefix(ref, schemaRef) {
				if name := strings.TrimPrefix(ref, schemaRef); !seen[name] {
					seen[name] = true
					out = append(out, name)
				}
			}
			for _, w := range v {
				walk(w)
			}
		case []any:
			for _, w := range v {
				walk(w)
			}
		}
	}
	walk(part)
	return out
}

// bodies returns the names of the schemas of request bodies.
func bodies(doc map[string]any) []string {
	var out []string
	paths, _ := doc["paths"].(map[string]any)
	for _, item := range paths {
		operations, _ := item.(map[string]any)
		for _, op := range operations {
			if o, _ := op.(map[string]any); o != nil {
				out = append(out, refs(o["requestBody"])...)
			}
		}
	}
	return out
}
