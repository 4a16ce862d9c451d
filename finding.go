package wadi

import "time"

// Level says how bad a finding is.
type Level string

// The levels of a finding.
const (
	LevelOK   Level = "ok"
	LevelWarn Level = "warn" // It works, and should be looked at.
	LevelFail Level = "fail" // Something does not work, or won't after the next restart.
)

// Finding is what one check of an installation found.
type Finding struct {
	Level  Level  `json:"level"`
	About  string `json:"about"`            // Whom: an agent, a service, Consul.
	What   string `json:"what"`             // What was found.
	Remedy string `json:"remedy,omitempty"` // What to do; empty if there is nothing.
}

// AgentReport is what an agent found about itself, and about what it works with.
type AgentReport struct {
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"`
	Findings []Finding `json:"findings"`

	GatewayDomain string `json:"gateway_domain,omitempty"` // Below which its gateway finds services.

	Lost []LostAgent `json:"lost,omitempty"` // Agents that it saw, and that vanished without deregistering.
}

// LostAgent is an agent that vanished without deregistering: it was killed, or hangs, or its
// machine is down.
type LostAgent struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}
