package api

import (
	_ "embed" // For openapi.json.
	"encoding/json"
)

//go:embed openapi.json
var openAPI string

// OpenAPI is the description of the API in the OpenAPI format. "go run ./tools/openapi" renews
// its schemas after a change of a type.
func OpenAPI() json.RawMessage { return json.RawMessage(openAPI) }
