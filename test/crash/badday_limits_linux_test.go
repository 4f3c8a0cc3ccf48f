package crash

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// limitedKinds take from the server what it runs on: disk, files, memory, time.
func limitedKinds() []*dayKind {
	kinds := []*dayKind{
		{name: "no file may be opened", heals: true, quick: true, weight: 2, do: (*day).noFiles},
		{name: "many connections", heals: true, weight: 2, do: (*day).connections},
		{name: "little memory", heals: true, weight: 1, do: (*day).littleMemory},
	}
	if mayMount() {
		kinds = append(kinds,
			&dayKind{name: "a full disk", heals: true, quick: true, weight: 4, ready: (*day).smallDisk, do: (*day).fullDisk},
			&dayKind{name: "a start on a full disk", heals: true, weight: 2, ready: (*day).smallDisk, do: (*day).fullAtStart},
		)
	}
	return kinds
}

// mayMount reports whether a file system can be mounted here.
func mayMount() bool {
	dir, err := os.MkdirTemp("", "holdmetrics-mount-")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	if syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m") != nil {
		return false
	}
	return syscall.Unmount(dir, syscall.MNT_DETACH) == nil
}

const dayDisk = 128 // MiB

// smallDisk gives the data directory a disk of its own.
func (d *day) smallDisk() error {
	disk := filepath.Join(d.root, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%dm", dayDisk)); err != nil {
		return err
	}
	d.undo = append(d.undo, func() {
		d.keepDisk(disk)
		_ = syscall.Unmount(disk, syscall.MNT_DETACH)
	})
	d.data = filepath.Join(disk, "data")
	d.srv.args[2] = d.data
	return nil
}

// keepDisk copies what is on the disk beside it, so that a wrong day can be looked at.
func (d *day) keepDisk(disk string) { _ = os.CopyFS(filepath.Join(d.root, "kept"), os.DirFS(disk)) }

// fill takes all room of the disk of the data directory but for some bytes.
func (d *day) fill(leave int64) (free func() error, err error) {
	path := filepath.Join(filepath.Dir(d.data), "filler")
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	written := int64(0)
	for size := 1 << 20; size > 0; {
		n, err := file.Write(make([]byte, size))
		written += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			size /= 4
		} else if err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	err = errors.Join(file.Truncate(max(written-leave, 0)), file.Close())
	d.tell("the disk is full but for %d bytes", leave)
	return func() error {
		d.tell("the disk has room again")
		return os.Remove(path)
	}, err
}

// leave draws how much room is left.
func (d *day) leave() int64 {
	if d.rand.IntN(2) == 0 {
		return 0
	}
	return d.rand.Int64N(16 << 20)
}

func (d *day) fullDisk() error {
	for range d.between(1, 3) {
		d.load.wanted.Add(int64(d.between(20, 200)))
		d.load.wake()
		if d.rand.IntN(2) == 0 {
			time.Sleep(d.moment(200 * time.Millisecond))
		}
		free, err := d.fill(d.leave())
		if err != nil {
			return err
		}
		d.publishRaw()
		d.load.tried(d.between(1, 6), 2*time.Second)
		switch d.rand.IntN(4) {
		case 0:
			d.tell("killed on a full disk")
			if err := errors.Join(d.srv.stop(syscall.SIGKILL), free()); err != nil {
				return err
			}
			if err := d.srv.start(); err != nil {
				return err
			}
			continue
		case 1:
			d.tell("asked to stop on a full disk")
			if err := d.srv.stop(syscall.SIGTERM); err != nil {
				return err
			}
			if err := free(); err != nil {
				return err
			}
			if err := d.srv.start(); err != nil {
				return err
			}
			continue
		}
		if err := free(); err != nil {
			return err
		}
	}
	return nil
}

func (d *day) fullAtStart() error {
	if err := d.down(); err != nil {
		return err
	}
	free, err := d.fill(d.leave())
	if err != nil {
		return err
	}
	switch err := d.srv.start(); {
	case errors.Is(err, errEnded):
		d.tell("it does not start: %v", err)
	case err != nil:
		return fmt.Errorf("a start on a full disk: %w", err)
	default:
		d.load.tried(2, time.Second)
	}
	if err := free(); err != nil {
		return err
	}
	if d.srv.running() {
		return nil
	}
	d.srv.end()
	return d.srv.start()
}

// publishRaw publishes past the gateway, which would ask whether there is room, so that
// the broker meets the full disk. What it publishes is no event, and becomes a dead letter.
func (d *day) publishRaw() {
	ctx, cancel := context.WithTimeout(d.t.Context(), dayCall)
	defer cancel()
	conn, _, err := d.client(ctx)
	if err != nil {
		return
	}
	defer conn.Close()
	for range d.between(1, 60) {
		answer, err := conn.RequestWithContext(ctx, "hold.events.raw", make([]byte, 20_000))
		if err != nil {
			d.tell("the broker does not answer: %v", err)
			return
		}
		if text := string(answer.Data); strings.Contains(text, `"error"`) {
			d.tell("the broker refuses: %s", text)
			return
		}
	}
}

// limitFiles sets how many files the running server may have open, and returns how many
// it might before.
func (d *day) limitFiles(to uint64) (before uint64, err error) {
	var was syscall.Rlimit
	prlimit := func(now, was *syscall.Rlimit) error {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(d.srv.cmd.Process.Pid), syscall.RLIMIT_NOFILE,
			uintptr(unsafe.Pointer(now)), uintptr(unsafe.Pointer(was)), 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := prlimit(nil, &was); err != nil {
		return 0, err
	}
	return was.Cur, prlimit(&syscall.Rlimit{Cur: to, Max: was.Max}, nil)
}

// open is how many files the server has open.
func (d *day) open() uint64 {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.srv.cmd.Process.Pid))
	return uint64(len(entries))
}

// noFiles lets the server open no file for a while.
func (d *day) noFiles() error {
	for range d.between(1, 3) {
		was, err := d.limitFiles(d.open() + uint64(d.between(0, 3)))
		if err != nil {
			return err
		}
		d.tell("it may open no file, %d are open", d.open())
		d.load.wanted.Add(int64(d.between(20, 200)))
		d.load.wake()
		d.publishRaw()
		time.Sleep(d.moment(2 * time.Second))
		if _, err := d.limitFiles(was); err != nil {
			return err
		}
		d.tell("it may open files again")
	}
	return nil
}

// connections opens more connections than the server may have files.
func (d *day) connections() error {
	if err := d.srv.stop(syscall.SIGTERM); err != nil {
		return err
	}
	const few = 256
	program, args := d.srv.program, d.srv.args
	d.srv.program, d.srv.args = "/bin/sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, few), program}, args...)
	err := d.srv.start()
	d.srv.program, d.srv.args = program, args
	if err != nil {
		return err
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	address := []string{d.srv.grpc, d.srv.http, d.srv.nats}[d.rand.IntN(3)]
	d.tell("%d connections to %s, of a server that may have %d files", 2*few, address, few)
	for range 2 * few {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			break
		}
		conns = append(conns, c)
	}
	d.load.wanted.Add(int64(d.between(20, 200)))
	d.load.wake()
	d.load.tried(3, 2*time.Second)
	d.publishRaw()
	return nil
}

// littleMemory starts the server with a limit of memory that it can just keep.
func (d *day) littleMemory() error {
	if err := d.down(); err != nil {
		return err
	}
	was := d.srv.env
	d.srv.env = append(was[:len(was):len(was)], "GOMEMLIMIT=48MiB")
	defer func() { d.srv.env = was }()
	d.tell("started with GOMEMLIMIT=48MiB")
	if err := d.srv.start(); err != nil {
		return err
	}
	d.load.wanted.Add(int64(d.between(100, 1000)))
	d.load.wake()
	d.load.tried(10, 5*time.Second)
	return nil
}
