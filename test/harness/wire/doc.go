// Package wire breaks the network between network namespaces: it drops what passes, and
// delays and loses packets.
//
// It promises that what it does ends with the function that it returns, or at the latest
// with the namespace, and that it touches nothing in the machine's own network. It refuses
// to know what a namespace is for.
package wire
