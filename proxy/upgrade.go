package proxy

import "net"

// RequestChecker is a connection that checks the requests on it. Upgraded ends the
// checking: another protocol follows.
type RequestChecker interface{ Upgraded() }

// NotifyUpgraded ends the checking of requests on c, if there is any. It is called before
// anything is read of the other protocol.
func NotifyUpgraded(c net.Conn) {
	if checker, ok := c.(RequestChecker); ok {
		checker.Upgraded()
	}
}
