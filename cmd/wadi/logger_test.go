package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// Format and level of the log, and of the loggers made of it, change while it is used. The
// arguments that a logger was given stay.
func TestAgentLog(t *testing.T) {
	var out bytes.Buffer
	log := newLogger("info", false, &out)
	part := log.Named("part").With("service", "hello")
	say := func() string {
		out.Reset()
		part.Debug("detail")
		part.Warn("trouble", "error", "b c")
		return out.String()
	}
	if got := say(); !strings.HasSuffix(got, `[WARN]  wadi.part: trouble: service=hello error="b c"`+"\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("text: %q", got)
	}
	log.setJSON(true)
	var line map[string]string
	if err := json.Unmarshal([]byte(say()), &line); err != nil || line["@message"] != "trouble" || line["@module"] != "wadi.part" || line["service"] != "hello" || line["error"] != "b c" {
		t.Errorf("JSON: %q, %v", out.String(), err)
	}
	log.setJSON(false)
	log.SetLevel(hclog.Debug)
	if got := say(); strings.Count(got, "\n") != 2 || !part.IsDebug() {
		t.Errorf("at debug: %q", got)
	}
	log.SetLevel(hclog.Error)
	if got := say(); got != "" || part.IsWarn() {
		t.Errorf("at error: %q", got)
	}
}
