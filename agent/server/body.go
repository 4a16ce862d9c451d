package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// decode reads a JSON body strictly: bounded in size and time, one object, and known keys
// only.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // Recorders in tests don't support it.

	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	var value json.RawMessage
	if err := d.Decode(&value); err != nil {
		return decodeError(err)
	}
	if value[0] != '{' { // Null would be taken for an empty object.
		return badInput("the body is not a JSON object")
	}
	strict := json.NewDecoder(bytes.NewReader(value))
	strict.DisallowUnknownFields()
	if err := strict.Decode(v); err != nil {
		return decodeError(err)
	}
	switch _, err := d.Token(); {
	case errors.Is(err, io.EOF):
		_ = rc.SetReadDeadline(time.Time{}) // Else the deadline would cancel the request.
		return nil
	case err == nil:
		return badInput("the body holds more than one JSON value")
	default:
		return decodeError(err)
	}
}

func decodeError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	if errors.Is(err, io.EOF) {
		return badInput("the body is empty")
	}
	return badInput("the body is not the JSON that belongs here: %s", strings.TrimPrefix(err.Error(), "json: "))
}
