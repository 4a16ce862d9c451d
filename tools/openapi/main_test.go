package main

import (
	"os"
	"path/filepath"
	"testing"
)

const checkout = "../.."

// The committed document has the fields that the types have, and the page is made of it.
func TestOpenAPI_InStepWithTheTypes(t *testing.T) {
	files, err := renewed(checkout)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(checkout, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is out of date: run \"go run ./tools/openapi\" and read the diff", name)
		}
	}
}

// A name that is no type is told, and not left without a schema.
func TestOpenAPI_UnknownType(t *testing.T) {
	doc := `{"components": {}, "paths": {"/": {"get": {"responses": {"200": {"$ref": "#/components/schemas/Nothing"}}}}}}`
	if _, err := renew(checkout, []byte(doc)); err == nil {
		t.Error("a schema that is no type was accepted")
	}
}
