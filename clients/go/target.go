package engagement

// Which servers are on this machine.

import (
	"net"
	"net/netip"
	"strings"
)

// isThisMachine reports whether a target is a socket file, localhost or a loopback address.
func isThisMachine(target string) bool {
	if strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:") {
		return true
	}
	for _, scheme := range []string{"dns:", "passthrough:"} {
		address, found := strings.CutPrefix(target, scheme)
		if !found {
			continue
		}
		// An authority names who resolves the address.
		if authority, has := strings.CutPrefix(address, "//"); has {
			_, address, _ = strings.Cut(authority, "/")
		}
		target = address
		break
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = target
	}
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}
