package engagement_test

import (
	"net"
	"sync"
	"testing"
)

// relay stands between a client and its server, and does to connections what networks do.
type relay struct {
	address string

	mutex       sync.Mutex
	connections []*relayed
}

func startRelay(t *testing.T, target string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: listener.Addr().String()}
	t.Cleanup(func() {
		_ = listener.Close()
		r.cut()
	})
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			connection := &relayed{near: near, far: far}
			r.mutex.Lock()
			r.connections = append(r.connections, connection)
			r.mutex.Unlock()
			go connection.pass(near, far)
			go connection.pass(far, near)
		}
	}()
	return r
}

// cut ends all connections.
func (r *relay) cut() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, connection := range r.connections {
		connection.close()
	}
	r.connections = nil
}

// swallow makes all connections silent: they stay open, and nothing passes any more.
func (r *relay) swallow() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, connection := range r.connections {
		connection.mutex.Lock()
		connection.isSilent = true
		connection.mutex.Unlock()
	}
}

type relayed struct {
	near, far net.Conn

	mutex    sync.Mutex
	isSilent bool
}

func (c *relayed) pass(to, from net.Conn) {
	defer c.close()
	buffer := make([]byte, 64<<10)
	for {
		count, err := from.Read(buffer)
		if err != nil {
			return
		}
		c.mutex.Lock()
		if !c.isSilent {
			_, err = to.Write(buffer[:count])
		}
		c.mutex.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *relayed) close() { _, _ = c.near.Close(), c.far.Close() }
