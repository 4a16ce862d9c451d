package proxy

import (
	"bufio"
	"net"
	"net/http"
)

// hijack takes the connection over for another protocol, and says so to who checks
// that there are requests on it.
func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if checked, ok := conn.(interface{ Upgraded() }); ok {
		checked.Upgraded()
	}
	return conn, rw, err
}
