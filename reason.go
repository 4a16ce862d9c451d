package wadi

import (
	"fmt"
	"hash/fnv"
)

// ReasonID names why a revision can't serve, for those who may not read that: who runs
// the service finds it in the events by the same ID, whichever agent gave it out.
func ReasonID(revision, reason string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(revision + "\x00" + reason)) // It does not fail.
	return fmt.Sprintf("%08x", h.Sum32())
}
