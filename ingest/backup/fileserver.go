package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdmetrics/internal/responder"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

// A server that keeps more than streams serves its files to backups by requests:
//
//	hold.ctl.backup.begin   answer: {"session", "files"}; what was copied is kept
//	hold.ctl.backup.read    {"session", "file", "offset", "bytes"}; answer: so many bytes
//	hold.ctl.backup.end     {"session"}; the copy goes
//
// A question that fails is answered by the header Hold-Error. One backup is made
// at a time. A session that asks nothing for a while has ended.
const (
	requestPrefix = "hold.ctl.backup."
	errorHeader   = "Hold-Error"

	// copying is how long the server may take to copy what it has; stores are
	// copied by hard links, which is quick.
	copying = 5 * time.Minute
	// forgotten is after how long without a question a session has ended.
	forgotten = time.Minute
	readBytes = 512 << 10
)

// CopyPrefix begins the names of the directories that a [FileServer] makes. What a crash
// left of them can be removed.
const CopyPrefix = "backup-"

type beginAnswer struct {
	Session string     `json:"session"`
	Files   []fileSize `json:"files"`
}

type fileSize struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

type readQuestion struct {
	Session string `json:"session"`
	File    int    `json:"file"`
	Offset  int64  `json:"offset"`
	Bytes   int    `json:"bytes"`
}

// FileServer serves the files that a server keeps beside its streams to backups, until
// Close.
type FileServer struct {
	dir      string
	copy     func(ctx context.Context, dir string) error
	requests *responder.Responder

	mu       sync.Mutex
	session  string // empty: none
	copied   string // its directory
	files    []fileSize
	deadline *time.Timer
}

// ServeFiles starts to answer backups. copy must copy all files into a directory that
// does not exist yet. The directory is created within dir, so that hard links to the
// files of the server are possible.
func ServeFiles(conn *nats.Conn, dir string, copy func(ctx context.Context, dir string) error) (*FileServer, error) {
	d := &FileServer{dir: dir, copy: copy}
	// Copying takes its time, and the questions of a client come one after the other. So
	// their number is not bounded.
	r, err := responder.Start(conn, requestPrefix+"*", responder.Options{}, func(m *nats.Msg) func(context.Context) {
		return func(ctx context.Context) { d.answer(ctx, m) }
	})
	if err != nil {
		return nil, fmt.Errorf("backup: subscribe to requests for files: %w", err)
	}
	d.requests = r
	return d, nil
}

// Close ends a backup that is under way, and removes its copy. If ctx ends first, the
// copy stays until the next start.
func (d *FileServer) Close(ctx context.Context) error {
	if err := d.requests.Stop(ctx); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.forget()
}

func (d *FileServer) answer(ctx context.Context, m *nats.Msg) {
	var data []byte
	var err error
	d.mu.Lock()
	switch m.Subject {
	case requestPrefix + "begin":
		data, err = d.begin(ctx)
	case requestPrefix + "read":
		data, err = d.read(m.Data)
	case requestPrefix + "end":
		var q readQuestion
		if err = json.Unmarshal(m.Data, &q); err == nil && q.Session == d.session {
			err = d.forget()
		}
	default:
		err = errors.New("no such question")
	}
	d.mu.Unlock()
	answer := nats.NewMsg(m.Reply)
	answer.Data = data
	if err != nil {
		answer.Header.Set(errorHeader, err.Error())
	}
	_ = m.RespondMsg(answer) // who asked asks again, or gives up
}

func (d *FileServer) begin(ctx context.Context) ([]byte, error) {
	if d.session != "" {
		return nil, errors.New("another backup is under way; try again when it has ended")
	}
	id := uuid.NewString()
	d.copied = filepath.Join(d.dir, CopyPrefix+id)
	err := d.copy(ctx, d.copied)
	if err == nil {
		d.files, err = list(d.copied)
	}
	if err != nil {
		return nil, errors.Join(err, d.forget())
	}
	d.session = id
	d.deadline = time.AfterFunc(forgotten, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.session == id {
			_ = d.forget()
		}
	})
	return json.Marshal(beginAnswer{id, d.files})
}

// forget ends a session, if there is one.
func (d *FileServer) forget() error {
	if d.deadline != nil {
		d.deadline.Stop()
	}
	dir := d.copied
	d.session, d.copied, d.files, d.deadline = "", "", nil, nil
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}

func (d *FileServer) read(question []byte) ([]byte, error) {
	var q readQuestion
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, err
	}
	if q.Session != d.session || d.session == "" {
		return nil, errors.New("the backup was given up; begin again")
	}
	if q.File < 0 || q.File >= len(d.files) || q.Offset < 0 || q.Bytes < 1 || q.Bytes > readBytes {
		return nil, errors.New("no such bytes")
	}
	d.deadline.Reset(forgotten)
	f, err := os.Open(filepath.Join(d.copied, filepath.FromSlash(d.files[q.File].Name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, q.Bytes)
	n, err := f.ReadAt(data, q.Offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}

// list is the files below a directory, by name.
func list(dir string) (files []fileSize, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, fileSize{filepath.ToSlash(name), info.Size()})
		return err
	})
	return files, err
}

// AddServer copies what a server keeps beside its streams, by way of its [FileServer].
// found is false if no server answers: then the streams are all there is.
func (w *Writer) AddServer(ctx context.Context, conn *nats.Conn) (found bool, err error) {
	var begun beginAnswer
	err = ask(ctx, conn, "begin", nil, copying, func(data []byte) error { return json.Unmarshal(data, &begun) })
	if errors.Is(err, nats.ErrNoResponders) {
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("backup: the server: %w", err)
	}
	defer func() {
		end := ask(context.WithoutCancel(ctx), conn, "end", &readQuestion{Session: begun.Session}, silence, nil)
		if err == nil && end != nil {
			err = fmt.Errorf("backup: the server: %w", end)
		}
	}()
	for i, f := range begun.Files {
		if err := w.AddFile(f.Name, f.Size, &remote{ctx: ctx, conn: conn, q: readQuestion{Session: begun.Session, File: i}, left: f.Size}); err != nil {
			return true, err
		}
	}
	return true, nil
}

// remote reads a file of the server.
type remote struct {
	ctx  context.Context
	conn *nats.Conn
	q    readQuestion
	left int64
	data []byte // asked for, and not read yet
}

func (r *remote) Read(b []byte) (int, error) {
	if len(r.data) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		r.q.Bytes = int(min(r.left, readBytes, r.conn.MaxPayload()/2))
		err := ask(r.ctx, r.conn, "read", &r.q, silence, func(data []byte) error {
			r.data = data
			return nil
		})
		if err != nil {
			return 0, err
		}
		if len(r.data) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		r.left -= int64(len(r.data))
		r.q.Offset += int64(len(r.data))
	}
	n := copy(b, r.data)
	r.data = r.data[n:]
	return n, nil
}

// ask sends a question to a server's [FileServer], and passes the answer to fn.
func ask(ctx context.Context, conn *nats.Conn, what string, question *readQuestion, patience time.Duration, fn func([]byte) error) error {
	text, err := json.Marshal(question)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := conn.RequestWithContext(within, requestPrefix+what, text)
	switch {
	case err != nil:
		return err
	case m.Header.Get(errorHeader) != "":
		return errors.New(m.Header.Get(errorHeader))
	case fn == nil:
		return nil
	}
	return fn(m.Data)
}
