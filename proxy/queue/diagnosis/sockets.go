package diagnosis

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is read of the kernel's tables, in which listeners come first.
const (
	maxTable     = 256 << 10 // Bytes.
	maxListeners = 256
)

// listening reads which TCP sockets of this network namespace take connections.
func listening() ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(table, "6") {
			continue // A kernel without IPv6.
		}
		if err != nil {
			return nil, err
		}
		all = append(all, parseListening(io.LimitReader(f, maxTable))...)
		_ = f.Close() // The file was only read.
	}
	return all, nil
}

// stateListen is the kernel's number of TCP_LISTEN.
const stateListen = "0A"

// parseListening reads one of the kernel's tables up to the first connection, and
// leaves out lines that it can't parse.
func parseListening(table io.Reader) []netip.AddrPort {
	var all []netip.AddrPort
	lines := bufio.NewScanner(table)
	lines.Scan() // The heading.
	for lines.Scan() && len(all) < maxListeners {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 {
			continue
		}
		if fields[3] != stateListen {
			break
		}
		if at, ok := parseSocket(fields[1]); ok {
			all = append(all, at)
		}
	}
	return all
}

// parseSocket reads an address as the kernel writes it: words of four bytes in the
// machine's order, as hexadecimal numbers, and the port.
func parseSocket(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	n, errPort := strconv.ParseUint(port, 16, 16)
	if err != nil || errPort != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok
}

// Envoy's own ports in an instance's network, which apps may not have.
const envoyFirst, envoyLast = 19000, 19100

// ofApp returns the listeners of the app. In a network of the instance's own these are
// all but those at Envoy's ports and at others; in the host's network only those at the
// app's own port, as any process may have the rest.
func ofApp(all []netip.AddrPort, target uint16, ownNetwork bool, others []uint16) []netip.AddrPort {
	return slices.DeleteFunc(slices.Clone(all), func(at netip.AddrPort) bool {
		port := at.Port()
		foreign := port >= envoyFirst && port <= envoyLast || slices.Contains(others, port)
		return port != target && (!ownNetwork || foreign)
	})
}

// maxListed is how many listeners a text names.
const maxListed = 3

// listed names listeners as ss does, for instance "*:3000 and [::1]:8080".
func listed(all []netip.AddrPort) string {
	var names []string
	for _, at := range all {
		s := at.String()
		if at.Addr().IsUnspecified() {
			s = "*:" + strconv.Itoa(int(at.Port()))
		}
		if !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	if more := len(names) - maxListed; more > 0 {
		names = append(names[:maxListed], strconv.Itoa(more)+" more")
	}
	return strings.Join(names, " and ")
}

// reaches reports whether a connection to target gets to a listener at at. A listener
// for all addresses of IPv6 takes those of IPv4 too, unless its app has ruled that out,
// which the kernel's table does not show.
func reaches(at, target netip.AddrPort) bool {
	return at.Port() == target.Port() && (at.Addr() == target.Addr() || at.Addr().IsUnspecified())
}
