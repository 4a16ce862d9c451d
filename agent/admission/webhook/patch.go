package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

const (
	maxOperations = 256     // Of one patch.
	maxCopied     = 1 << 20 // Bytes that the copies of one patch may make.
	maxPatched    = 4 << 20 // Of what a patch makes.
)

// decode reads a JSON Patch (RFC 6902); nothing and null are one without operations.
func decode(text []byte) (jsonpatch.Patch, error) {
	if len(text) == 0 {
		return nil, nil
	}
	operations, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, fmt.Errorf("it is no JSON Patch: %w", err)
	}
	if len(operations) > maxOperations {
		return nil, fmt.Errorf("it has %d operations, at most %d are possible", len(operations), maxOperations)
	}
	for i, o := range operations {
		if err := allowed(o); err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	return operations, nil
}

// patch applies operations to the service and the instance of a question.
func patch(q Question, operations jsonpatch.Patch) (service, instance json.RawMessage, err error) {
	document, err := json.Marshal(map[string]json.RawMessage{"service": q.Service, "instance": q.Instance})
	if err != nil {
		return nil, nil, err
	}
	o := jsonpatch.NewApplyOptions()
	o.SupportNegativeIndices = false
	o.AccumulatedCopySizeLimit = maxCopied
	o.EscapeHTML = false
	document, err = operations.ApplyWithOptions(document, o)
	if err != nil {
		return nil, nil, err
	}
	if len(document) > maxPatched {
		return nil, nil, fmt.Errorf("it makes %d bytes, at most %d are possible", len(document), maxPatched)
	}
	var out Question
	if err := json.Unmarshal(document, &out); err != nil {
		return nil, nil, err
	}
	if out.Service == nil || out.Instance == nil {
		return nil, nil, errors.New("it takes the service or the instance away")
	}
	return out.Service, out.Instance, nil
}

// allowed refuses an operation on anything but the service and the instance.
func allowed(o jsonpatch.Operation) error {
	places := []func() (string, error){o.Path}
	if kind := o.Kind(); kind == "move" || kind == "copy" {
		places = append(places, o.From)
	}
	for _, place := range places {
		path, err := place()
		if err != nil {
			return err
		}
		if !below(path, "/service") && !below(path, "/instance") {
			return fmt.Errorf("its path %q is not below /service or /instance", path)
		}
	}
	return nil
}

func below(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }
