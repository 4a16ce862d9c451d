package slot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// removeLink deletes a network interface over netlink, so that iproute2 is not needed.
// It is no error if there is no such interface.
func removeLink(name string) error {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	defer func() { _ = unix.Close(fd) }()

	// struct nlmsghdr, then struct ifinfomsg; netlink speaks the host's byte order.
	const header = unix.SizeofNlMsghdr
	msg := make([]byte, header+unix.SizeofIfInfomsg)
	order := binary.NativeEndian
	order.PutUint32(msg[0:], uint32(len(msg)))
	order.PutUint16(msg[4:], unix.RTM_DELLINK)
	order.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	order.PutUint32(msg[8:], 1)
	order.PutUint32(msg[header+4:], uint32(iface.Index))
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	if n < header+4 || order.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("remove interface %s: the kernel sent an unknown answer", name)
	}
	if code := int32(order.Uint32(answer[header:])); code != 0 {
		if errno := unix.Errno(-code); !errors.Is(errno, unix.ENODEV) {
			return fmt.Errorf("remove interface %s: %w", name, errno)
		}
	}
	return nil
}
