package cluster

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

const bridge = "mrl-conformance"

// network is a bridge with an address for each Pod.
type network struct {
	subnet *net.IPNet
	lock   sync.Mutex
	taken  map[string]bool
}

func makeNetwork(subnet *net.IPNet) (*network, error) {
	made := &network{subnet: subnet, taken: map[string]bool{}}
	made.remove() // what a run that was killed has left
	gateway := made.nth(1)
	made.taken[gateway.String()] = true
	ones, _ := subnet.Mask.Size()
	for _, arguments := range [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"addr", "add", fmt.Sprintf("%s/%d", gateway, ones), "dev", bridge},
		{"link", "set", bridge, "up"},
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
	_ = ip("link", "del", bridge)
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
	ones, bits := n.subnet.Mask.Size()
	for number := 2; number < 1<<(bits-ones)-1; number++ {
		if address := n.nth(number); !n.taken[address.String()] {
			n.taken[address.String()] = true
			return address, nil
		}
	}
	return nil, errors.New("no address is left")
}

// attach gives the network namespace of a process its interface.
func (n *network) attach(pid int, address net.IP) error {
	ones, _ := n.subnet.Mask.Size()
	link := fmt.Sprintf("mrlc%d", pid)
	inside := []string{"-t", strconv.Itoa(pid), "-n", "ip"}
	steps := [][]string{
		{"ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid)},
		{"ip", "link", "set", link, "master", bridge, "up"},
		append(append([]string{"nsenter"}, inside...), "link", "set", "lo", "up"),
		append(append([]string{"nsenter"}, inside...), "addr", "add", fmt.Sprintf("%s/%d", address, ones), "dev", "eth0"),
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
