package wadi

// Auth is the way in which an agent's API checks a caller's rights.
type Auth string

// The ways to check a caller's rights.
const (
	AuthNomad Auth = "nomad" // By the rights of the caller's Nomad token.
	AuthNone  Auth = "none"  // Every caller has every right; loopback listeners only.
)
