package clock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stub stands in for the vDSO's clock_gettime: it asks the kernel, and adds the seconds
// that follow it to the time of day (clocks 0 and 5).
var stub = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xc0, // test eax, eax
	0x75, 0x13, // jne end
	0x85, 0xff, // test edi, edi
	0x74, 0x05, // je add
	0x83, 0xff, 0x05, // cmp edi, 5
	0x75, 0x0a, // jne end
	0x48, 0x8b, 0x15, 0x04, 0x00, 0x00, 0x00, // add: mov rdx, [offset]
	0x48, 0x01, 0x16, // add [rsi], rdx
	0xc3,                                           // end: ret
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // offset
}

const (
	offsetAt = 31 // Of the offset in the stub.
	jumpSize = 5  // Of the jump to it.
)

// Shift has a process's time of day differ by offset, in whole seconds, from the machine's;
// 0 sets it right. The process is stopped for a moment.
func Shift(pid int, offset time.Duration) error {
	start, end, err := vdso(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open memory: %w", err)
	}
	defer mem.Close()
	image := make([]byte, end-start)
	if _, err := mem.ReadAt(image, int64(start)); err != nil {
		return fmt.Errorf("read the vDSO: %w", err)
	}
	entry, err := symbol(image)
	if err != nil {
		return err
	}
	code := bytes.Clone(stub)
	binary.LittleEndian.PutUint64(code[offsetAt:], uint64(int64(offset/time.Second)))
	at := bytes.Index(image, stub[:offsetAt]) // It may have been shifted before.
	if at < 0 {
		// Before the section headers of the end nothing is that empty by purpose.
		if at = bytes.LastIndex(image, make([]byte, len(stub)+16)); at < 0 {
			return fmt.Errorf("%w: no room in the vDSO", ErrUnsupported)
		}
		at += 8
	}
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(at-(entry+jumpSize)))
	return stopped(pid, start+uint64(entry), func() error {
		if _, err := mem.WriteAt(code, int64(start)+int64(at)); err != nil {
			return fmt.Errorf("write the vDSO: %w", err)
		}
		if _, err := mem.WriteAt(jump, int64(start)+int64(entry)); err != nil {
			return fmt.Errorf("write the vDSO: %w", err)
		}
		return nil
	})
}

// vdso is where a process has its vDSO.
func vdso(pid int) (start, end uint64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read memory map: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
				return 0, 0, fmt.Errorf("read memory map: %w", err)
			}
			return start, end, nil
		}
	}
	return 0, 0, fmt.Errorf("%w: no vDSO", ErrUnsupported)
}

// symbol is where the function begins in the vDSO.
func symbol(image []byte) (int, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return int(s.Value), nil
		}
	}
	return 0, fmt.Errorf("%w: no clock_gettime in the vDSO", ErrUnsupported)
}

// stopped calls f while the process is stopped, with no thread in the bytes at entry that
// are written over.
func stopped(pid int, entry uint64, f func() error) (err error) {
	for range 50 {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return fmt.Errorf("stop process %d: %w", pid, err)
		}
		free, err := outside(pid, entry)
		if err == nil && free {
			err = f()
		}
		if e := syscall.Kill(pid, syscall.SIGCONT); e != nil {
			err = errors.Join(err, fmt.Errorf("continue process %d: %w", pid, e))
		}
		if err != nil || free {
			return err
		}
	}
	return fmt.Errorf("process %d: it is always asking for the time", pid)
}

// outside waits until all threads have stopped, and says whether all of them are outside
// of the bytes at entry.
func outside(pid int, entry uint64) (bool, error) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		all, free, err := threads(pid, entry)
		if err != nil || all {
			return free, err
		}
		if time.Now().After(deadline) {
			return false, fmt.Errorf("process %d did not stop", pid)
		}
		time.Sleep(time.Millisecond) // The kernel tells nobody but its parent.
	}
}

func threads(pid int, entry uint64) (all, free bool, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(tasks) == 0 {
		return false, false, fmt.Errorf("list threads of %d: %v", pid, err)
	}
	free = true
	for _, task := range tasks {
		stat, err := os.ReadFile(filepath.Join(task, "stat"))
		if err != nil {
			continue // It has ended.
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "Z") {
			return false, false, nil
		}
		call, err := os.ReadFile(filepath.Join(task, "syscall"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(call)) // Number, arguments, stack pointer, program counter.
		pc, err := strconv.ParseUint(fields[len(fields)-1], 0, 64)
		if err != nil {
			return false, false, fmt.Errorf("read where thread %s is: %q", task, call)
		}
		if pc > entry && pc < entry+jumpSize {
			free = false
		}
	}
	return true, free, nil
}
