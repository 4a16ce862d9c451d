package wadi

// Mirror has the gateway copy a part of a service's requests to a tagged revision of it. The
// answers to copies are thrown away. Copies never delay or fail the requests that they are
// made of; what exceeds the bounds is not copied.
type Mirror struct {
	Tag     string   `json:"tag"`               // Of the target that gets the copies.
	Percent float64  `json:"percent"`           // Of the requests that go to other revisions; in steps of 0.01.
	Methods []string `json:"methods,omitempty"` // That are copied; empty: the safe ones, see [SafeMethods].
}

// SafeMethods are the methods that change nothing (RFC 9110, section 9.2.1), TRACE aside.
func SafeMethods() []string { return []string{"GET", "HEAD", "OPTIONS"} }
