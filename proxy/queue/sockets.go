package queue

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

// Bounds of what is read of the kernel's tables. Listeners come first in them.
const (
	maxTable     = 256 << 10
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
		_ = f.Close() // It was only read.
	}
	return all, nil
}

// stateListen is the kernel's number of TCP_LISTEN.
const stateListen = "0A"

// parseListening reads one of the kernel's tables up to the first connection. What it
// can't read it leaves out.
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

// Envoy's own ports in an instance's namespace, which apps may not have.
const envoyFirst, envoyLast = 19000, 19100

// neighbours are the ports of an instance's namespace that are not its app's.
type neighbours []uint16

func (n neighbours) has(port uint16) bool {
	return port >= envoyFirst && port <= envoyLast || slices.Contains(n, port)
}

// apps keeps of the listeners those that are the app's: in a namespace of the
// instance's own all but its neighbours'; else those at the app's own port, for the
// others are anybody's.
func apps(all []netip.AddrPort, target uint16, own bool, others neighbours) []netip.AddrPort {
	return slices.DeleteFunc(slices.Clone(all), func(at netip.AddrPort) bool {
		return at.Port() != target && (!own || others.has(at.Port()))
	})
}

// maxToldSockets is how many listeners are told of.
const maxToldSockets = 3

// tellSockets lists listeners as ss does, for instance "*:3000 and [::1]:8080".
func tellSockets(all []netip.AddrPort) string {
	var told []string
	for _, at := range all {
		s := at.String()
		if at.Addr().IsUnspecified() {
			s = "*:" + strconv.Itoa(int(at.Port()))
		}
		if !slices.Contains(told, s) {
			told = append(told, s)
		}
	}
	slices.Sort(told)
	if more := len(told) - maxToldSockets; more > 0 {
		told = append(told[:maxToldSockets], strconv.Itoa(more)+" more")
	}
	return strings.Join(told, " and ")
}

// reaches reports whether a connection to target gets to a listener at at. One for
// all addresses of IPv6 takes those of IPv4 too, unless its app said otherwise,
// which the kernel's table does not tell.
func reaches(at, target netip.AddrPort) bool {
	return at.Port() == target.Port() && (at.Addr() == target.Addr() || at.Addr().IsUnspecified())
}
