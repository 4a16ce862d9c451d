package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	frameMax = 1 << 17 // A frame that isn't segmented yet, with its header.
	underWay = 1 << 14 // Bound of the frames under way in each direction; more are lost.
	vnetSize = 10      // Of the header before each frame, which says what is left to do for it.
)

// Relay takes an interface off its bridge in a namespace, and carries its frames to the
// bridge and back itself, until heal: each later by delay, and some not at all. Not every
// kernel has netem, and every one has this.
func Relay(ctx context.Context, netns, port, bridge string, delay time.Duration, lossPercent float64) (heal func() error, err error) {
	tap := "r-" + port
	r := &relay{delay: delay, loss: lossPercent / 100}
	var hub *net.Interface
	if err := within(netns, func() (err error) {
		if hub, err = net.InterfaceByName(bridge); err != nil {
			return fmt.Errorf("find bridge %s: %w", bridge, err)
		}
		if r.tap, err = openTap(tap); err != nil {
			return err
		}
		r.port, err = openPort(port)
		return err
	}); err != nil {
		return nil, errors.Join(err, r.close())
	}
	// A bridge changes its address with its ports, unless it was given one; its neighbours
	// would lose it for half a minute. Without ARP: the port is none of this host's while it
	// is off the bridge.
	if err := ip(ctx, netns, "link set "+bridge+" address "+hub.HardwareAddr.String(), "link set "+port+" arp off nomaster", "link set "+tap+" arp off master "+bridge, "link set "+tap+" up"); err != nil {
		return nil, errors.Join(err, r.close())
	}
	r.start()
	return sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), healWithin)
		defer cancel()
		err := r.close() // The interface goes with its file.
		return errors.Join(err, ip(ctx, netns, "link set "+port+" arp on master "+bridge))
	}), nil
}

// relay carries frames between two files.
type relay struct {
	tap, port *os.File
	delay     time.Duration
	loss      float64 // 0 to 1.

	done sync.WaitGroup
}

// frame is one under way.
type frame struct {
	due  time.Time
	data []byte
}

func (r *relay) start() {
	for _, way := range [][2]*os.File{{r.tap, r.port}, {r.port, r.tap}} {
		frames := make(chan frame, underWay)
		r.done.Go(func() {
			defer close(frames)
			r.receive(way[0], frames)
		})
		r.done.Go(func() { deliver(frames, way[1]) })
	}
}

// receive reads frames until the file is closed.
func (r *relay) receive(from io.Reader, frames chan<- frame) {
	buf := make([]byte, frameMax)
	for {
		n, err := from.Read(buf)
		switch {
		case errors.Is(err, unix.ENETDOWN):
			continue // It may come up again.
		case err != nil:
			return
		case n <= vnetSize, rand.Float64() < r.loss:
			continue
		}
		select {
		case frames <- frame{time.Now().Add(r.delay), append([]byte(nil), buf[:n]...)}:
		default:
		}
	}
}

// deliver writes frames when they are due.
func deliver(frames <-chan frame, to io.Writer) {
	for f := range frames {
		if d := time.Until(f.due); d > 0 {
			time.Sleep(d)
		}
		_, _ = to.Write(f.data) // A network loses what it can't carry.
	}
}

func (r *relay) close() error {
	var errs []error
	for _, f := range []*os.File{r.tap, r.port} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	r.done.Wait()
	return errors.Join(errs...)
}

// openTap makes an interface whose frames are read and written by the file.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil { // It takes frames as a veth does: not segmented, checksums to be done.
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make tap %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openPort reads all frames that arrive at an interface, and writes frames to it.
func openPort(name string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	}
	for _, option := range []int{unix.PACKET_VNET_HDR, unix.PACKET_IGNORE_OUTGOING} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1)
		}
	}
	if err == nil {
		all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8)
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(req.Uint32())})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read frames of %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// within calls f in a network namespace.
func within(netns string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // The thread ends with this goroutine.
		ns, err := os.Open(netns)
		if err != nil {
			done <- fmt.Errorf("open network namespace: %w", err)
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// ip runs commands of iproute2 in a namespace.
func ip(ctx context.Context, netns string, commands ...string) error {
	cmd := exec.CommandContext(ctx, "nsenter", "--net="+netns, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip in %s: %w: %s", filepath.Base(netns), err, out)
	}
	return nil
}
