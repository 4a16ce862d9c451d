package policies

import (
	"fmt"
	"strconv"
	"strings"
)

// Policy is a list of rules.
type Policy []Rule

// Rule is one block of a policy.
type Rule struct {
	Resource string // What it gives rights to, for instance key_prefix "wadi/".
	List     string // The name of the list that its rights are in; empty: they are settings.
	Rights   []Right
}

// Right is one right of a rule.
type Right struct {
	Name    string // Of the setting, such as policy; empty in a list.
	Access  string // For instance write.
	Without string // What does not work without it, without a full stop.
}

// String is the rule in one line, for a sentence.
func (r Rule) String() string {
	if r.List != "" {
		var all []string
		for _, right := range r.Rights {
			all = append(all, strconv.Quote(right.Access))
		}
		return fmt.Sprintf("%s { %s = [%s] }", r.Resource, r.List, strings.Join(all, ", "))
	}
	var all []string
	for _, right := range r.Rights {
		all = append(all, right.setting())
	}
	return fmt.Sprintf("%s { %s }", r.Resource, strings.Join(all, " "))
}

// setting is the right as a setting of its rule.
func (r Right) setting() string { return fmt.Sprintf("%s = %q", r.Name, r.Access) }

// HCL is the rule with a comment above each right.
func (r Rule) HCL() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s {\n", r.Resource)
	indent := "  "
	if r.List != "" {
		fmt.Fprintf(&b, "  %s = [\n", r.List)
		indent = "    "
	}
	for _, right := range r.Rights {
		line := right.setting()
		if r.List != "" {
			line = strconv.Quote(right.Access) + ","
		}
		fmt.Fprintf(&b, "%s# Without it %s.\n%[1]s%[3]s\n", indent, right.Without, line)
	}
	if r.List != "" {
		b.WriteString("  ]\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// HCL is the policy with a comment above each right.
func (p Policy) HCL() string {
	var all []string
	for _, r := range p {
		all = append(all, r.HCL())
	}
	return strings.Join(all, "\n")
}

// String is the policy with a line for each rule.
func (p Policy) String() string {
	var b strings.Builder
	for _, r := range p {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}
