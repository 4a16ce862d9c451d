//go:build !linux || !amd64

package clock

import "time"

// Shift is ErrUnsupported.
func Shift(int, time.Duration) error { return ErrUnsupported }
