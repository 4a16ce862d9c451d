package wadi

import "time"

// Level is the severity of a finding.
type Level string

// The levels of a finding.
const (
	LevelOK   Level = "ok"
	LevelWarn Level = "warn" // It works, and a person should check it.
	LevelFail Level = "fail" // It does not work, or will not after the next restart.
)

// Finding is what one check of an installation found.
type Finding struct {
	Level  Level  `json:"level"`
	About  string `json:"about"`            // The subject: an agent, a service, Consul.
	What   string `json:"what"`             // The fact.
	Remedy string `json:"remedy,omitempty"` // What to do; empty: nothing.
}

// AgentReport holds the findings of an agent about itself and about its surroundings.
type AgentReport struct {
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"`
	At       time.Time `json:"at,omitzero"` // When it was made, by the agent's clock.
	Findings []Finding `json:"findings"`

	GatewayDomain string `json:"gateway_domain,omitempty"` // Parent domain of the services' names at its gateway.

	Lost []LostAgent `json:"lost,omitempty"` // Agents that it saw, and that vanished without deregistering.
}

// LostAgent is an agent that vanished without deregistering: it was killed, or hangs, or its
// machine is down.
type LostAgent struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}
