package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// Not of the form of Marline's own interfaces, of which those of other meshes may be there.
	bridgePrefix = "conf-br-"
	vethPrefix   = "conf-p-"
	prefix       = 22
)

// pool is where networks of Pods are: each takes a part that nobody has.
var pool = net.IPNet{IP: net.IPv4(172, 31, 0, 0), Mask: net.CIDRMask(16, 32)}

// network is a bridge with an address for each Pod.
type network struct {
	bridge string
	subnet *net.IPNet
	lock   sync.Mutex
	taken  map[string]bool
}

func makeNetwork() (*network, error) {
	removeLeftovers()
	subnet, err := freeSubnet(os.Getpid())
	if err != nil {
		return nil, err
	}
	made := &network{bridge: bridgePrefix + strconv.Itoa(os.Getpid()), subnet: subnet, taken: map[string]bool{}}
	gateway := made.nth(1)
	made.taken[gateway.String()] = true
	for _, arguments := range [][]string{
		{"link", "add", made.bridge, "type", "bridge"},
		{"addr", "add", fmt.Sprintf("%s/%d", gateway, prefix), "dev", made.bridge},
		{"link", "set", made.bridge, "up"},
	} {
		if err := ip(arguments...); err != nil {
			made.remove()
			return nil, err
		}
	}
	return made, nil
}

func (n *network) remove() {
	// It may not be there, and is not wanted either way.
	_ = ip("link", "del", n.bridge)
}

// removeLeftovers takes away the bridges of runs that were killed: they are named after the process.
func removeLeftovers() {
	interfaces, err := net.Interfaces()
	if err != nil {
		return // whoever makes a bridge will say so
	}
	for _, item := range interfaces {
		text, found := strings.CutPrefix(item.Name, bridgePrefix)
		pid, err := strconv.Atoi(text)
		if !found || err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
			_ = ip("link", "del", item.Name) // another run may be faster
		}
	}
}

// freeSubnet is one in which this machine has no address; those who choose at the same time begin elsewhere.
func freeSubnet(start int) (*net.IPNet, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	count := 1 << (prefix - 16)
	for step := range count {
		third := (start + step) % count << (24 - prefix)
		subnet := &net.IPNet{IP: net.IPv4(pool.IP.To4()[0], pool.IP.To4()[1], byte(third), 0), Mask: net.CIDRMask(prefix, 32)}
		used := slices.ContainsFunc(addresses, func(address net.Addr) bool {
			known, ok := address.(*net.IPNet)
			return ok && (subnet.Contains(known.IP) || known.Contains(subnet.IP))
		})
		if !used {
			return subnet, nil
		}
	}
	return nil, fmt.Errorf("no part of %s is free", &pool)
}

func (n *network) nth(number int) net.IP {
	address := make(net.IP, net.IPv4len)
	copy(address, n.subnet.IP.To4())
	address[2] += byte(number >> 8)
	address[3] += byte(number)
	return address
}

// take reserves an address. One that was given back comes last, so that what is said of an old Pod is not
// taken for what is said of a new one.
func (n *network) take() (net.IP, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	for number := 2; number < 1<<(32-prefix)-1; number++ {
		if address := n.nth(number); !n.taken[address.String()] {
			n.taken[address.String()] = true
			return address, nil
		}
	}
	return nil, errors.New("no address is left")
}

// attach gives the network namespace of a process its interface.
func (n *network) attach(pid int, address net.IP) error {
	link := vethPrefix + strconv.Itoa(pid)
	inside := []string{"-t", strconv.Itoa(pid), "-n", "ip"}
	steps := [][]string{
		{"ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid)},
		{"ip", "link", "set", link, "master", n.bridge, "up"},
		append(append([]string{"nsenter"}, inside...), "link", "set", "lo", "up"),
		append(append([]string{"nsenter"}, inside...), "addr", "add", fmt.Sprintf("%s/%d", address, prefix), "dev", "eth0"),
		append(append([]string{"nsenter"}, inside...), "link", "set", "eth0", "up"),
		append(append([]string{"nsenter"}, inside...), "route", "add", "default", "via", n.nth(1).String()),
	}
	for _, step := range steps {
		if err := run(step...); err != nil {
			return err
		}
	}
	return nil
}

func ip(arguments ...string) error {
	return run(append([]string{"ip"}, arguments...)...)
}

func run(command ...string) error {
	output, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %s", strings.Join(command, " "), strings.TrimSpace(string(output)))
	}
	return nil
}
