package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"

	"holdmetrics/tools/release/legal"
)

// file is a file of an archive.
type file struct {
	name string // with slashes
	mode int64
	text []byte
}

// completions are the shells, with the names under which their completions are known.
var completions = []struct{ shell, name string }{
	{"bash", "holdmetrics.bash"}, {"zsh", "_holdmetrics"}, {"fish", "holdmetrics.fish"}, {"powershell", "holdmetrics.ps1"},
}

// units are the files of deploy/systemd.
var units = []string{
	"holdmetrics.service", "holdmetrics-gateway.service", "holdmetrics-worker.service",
	"holdmetrics.sysusers", "holdmetrics.tmpfiles", "serve.env", "gateway.env", "worker.env",
}

// texts returns the licences of modules and texts of the repository.
func (r *release) texts(modules []*legal.Module, names ...string) ([]file, error) {
	files := []file{{"THIRD_PARTY_LICENSES", 0o644, legal.Text(modules)}}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		files = append(files, file{path.Base(name), 0o644, text})
	}
	return files, nil
}

// shared returns what archives of the product contain beside it for all targets, in order.
// The program itself knows its commands, so one of this system writes pages and completions.
func (r *release) shared(ctx context.Context, program, stage string, modules []*legal.Module) ([]file, error) {
	files, err := r.texts(modules, "LICENSE", "README.md", "CHANGELOG.md")
	if err != nil {
		return nil, err
	}
	for _, name := range units {
		text, err := os.ReadFile(filepath.Join(r.root, "deploy", "systemd", name))
		if err != nil {
			return nil, err
		}
		files = append(files, file{"systemd/" + name, 0o644, text})
	}
	// No setting of this machine may show in what it writes.
	ask := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir, cmd.Env = stage, []string{"HOME=" + stage, "PATH=" + os.Getenv("PATH")}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("holdmetrics %v: %w: %s", args, err, &stderr)
		}
		return out, nil
	}
	for _, c := range completions {
		text, err := ask("completion", c.shell)
		if err != nil {
			return nil, err
		}
		files = append(files, file{"completions/" + c.name, 0o644, text})
	}
	pages := filepath.Join(stage, "man1")
	if _, err := ask("man", pages); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(pages) // sorted
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(pages, e.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, file{"man/" + e.Name(), 0o644, text})
	}
	return files, nil
}

// archive writes the archive of a program for a target: a zip file for Windows, else tar
// and gzip.
func (r *release) archive(p legal.Program, t legal.Target, program string, shared []file) error {
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	files := append([]file{{filepath.Base(program), 0o755, text}}, shared...)
	write, ending := r.tar, ".tar.gz"
	if t.OS == "windows" {
		write, ending = r.zip, ".zip"
	}
	out, err := os.Create(filepath.Join(r.out, r.name(p, t, ending)))
	if err != nil {
		return err
	}
	return errors.Join(write(out, r.name(p, t, ""), files), out.Close())
}

func (r *release) tar(out io.Writer, dir string, files []file) error {
	packed, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(packed)
	for _, f := range files {
		head := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(dir, f.name), Mode: f.mode, Size: int64(len(f.text)), ModTime: r.time, Format: tar.FormatUSTAR, Uname: "root", Gname: "root"}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		if _, err := w.Write(f.text); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), packed.Close())
}

func (r *release) zip(out io.Writer, dir string, files []file) error {
	w := zip.NewWriter(out)
	for _, f := range files {
		head := &zip.FileHeader{Name: path.Join(dir, f.name), Method: zip.Deflate, Modified: r.time}
		head.SetMode(os.FileMode(f.mode))
		entry, err := w.CreateHeader(head)
		if err != nil {
			return err
		}
		if _, err := entry.Write(f.text); err != nil {
			return err
		}
	}
	return w.Close()
}
