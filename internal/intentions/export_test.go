package intentions

// For the comparison with a real Envoy.
var (
	Normalize = normalize
	Plain     = plain
)
