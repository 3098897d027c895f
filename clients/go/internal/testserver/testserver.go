// Package testserver runs the real server, and the scripted one, for tests.
package testserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const startTimeout = 60 * time.Second

// Server is a running server with a store of its own. It ends with the test.
type Server struct {
	// Address is HOST:PORT, the same after a restart.
	Address string

	t       testing.TB
	data    string
	process *process
}

// Start starts a server on a free port.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{Address: "127.0.0.1:0", t: t, data: t.TempDir()}
	s.Restart()
	return s
}

// Kill ends the server with SIGKILL, as a crash would.
func (s *Server) Kill() { s.process.kill() }

// Restart starts the server again, with the same address and store.
func (s *Server) Restart() {
	s.t.Helper()
	s.process = start(s.t, "engagement.cli", "serve", "--listen", s.Address, "--data", s.data)
	line := s.process.firstLine()
	address, found := strings.CutPrefix(line, "listening on ")
	if !found {
		s.t.Fatalf("the server said %q", line)
	}
	s.Address = address
}

// Scripted has the addresses of the server that plays the shared conversations.
type Scripted struct {
	Address          string `json:"address"`
	TLSAddress       string `json:"tls_address"`
	MutualTLSAddress string `json:"mutual_tls_address"`
	CAFile           string `json:"ca_file"`
	CertificateFile  string `json:"certificate_file"`
	KeyFile          string `json:"key_file"`
}

// StartScripted starts the server that plays the shared conversations.
func StartScripted(t testing.TB) Scripted {
	t.Helper()
	line := start(t, "clients.vectors.scripted_server").firstLine()
	var addresses Scripted
	if err := json.Unmarshal([]byte(line), &addresses); err != nil {
		t.Fatalf("the scripted server said %q: %v", line, err)
	}
	return addresses
}

// Root returns the root of the repository.
func Root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "clients", "vectors")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("the tests run inside the repository only")
		}
		folder = parent
	}
}

type process struct {
	t       testing.TB
	command *exec.Cmd
	lines   chan string
	ended   chan struct{}
	errors  *bytes.Buffer
}

// start runs a module of the repository.
func start(t testing.TB, module string, arguments ...string) *process {
	t.Helper()
	root := Root(t)
	python := os.Getenv("ENGAGEMENT_PYTHON")
	if python == "" {
		python = filepath.Join(root, ".venv", "bin", "python")
	}
	p := &process{t: t, lines: make(chan string, 1), ended: make(chan struct{}), errors: &bytes.Buffer{}}
	p.command = exec.Command(python, append([]string{"-m", module}, arguments...)...)
	p.command.Dir = root
	p.command.Stderr = p.errors
	output, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			select {
			case p.lines <- lines.Text():
			default:
			}
		}
		_ = p.command.Wait() // how it ends is the test's own doing
	}()
	t.Cleanup(p.kill)
	return p
}

// firstLine returns the line that says that the server is ready.
func (p *process) firstLine() string {
	p.t.Helper()
	select {
	case line := <-p.lines:
		return line
	case <-p.ended:
		p.t.Fatalf("the server ended: %s", p.errors)
	case <-time.After(startTimeout):
		p.t.Fatal("the server does not start")
	}
	return ""
}

func (p *process) kill() {
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("cannot end the server: %v", err)
	}
	<-p.ended
}
