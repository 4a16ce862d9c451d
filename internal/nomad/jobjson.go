package nomad

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wadi-run/wadi"
)

// WithCount returns job with another count of its instance group, and otherwise unchanged.
func WithCount(job json.RawMessage, count int) (json.RawMessage, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(job, &top); err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	var groups []map[string]json.RawMessage
	if err := json.Unmarshal(top["TaskGroups"], &groups); err != nil {
		return nil, fmt.Errorf("job's task groups: %w", err)
	}
	found := false
	for _, g := range groups {
		var name string
		if err := json.Unmarshal(g["Name"], &name); err != nil {
			return nil, fmt.Errorf("job's task group: %w", err)
		}
		if name == wadi.GroupInstance {
			g["Count"], found = json.RawMessage(fmt.Sprint(count)), true
		}
	}
	if !found {
		return nil, errors.New("job has no group " + wadi.GroupInstance)
	}
	b, err := json.Marshal(groups)
	if err != nil {
		return nil, fmt.Errorf("job's task groups: %w", err)
	}
	top["TaskGroups"] = b
	return json.Marshal(top)
}

// identity reads the job's ID and namespace.
func identity(job json.RawMessage) (id, namespace string, err error) {
	var j struct{ ID, Namespace string }
	if err := json.Unmarshal(job, &j); err != nil {
		return "", "", fmt.Errorf("job: %w", err)
	}
	if j.ID == "" {
		return "", "", errors.New("job has no ID")
	}
	return j.ID, j.Namespace, nil
}
