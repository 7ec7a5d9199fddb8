// Command dns stands in for the suite's image `coredns`, with the configuration that the suite gives it: over UDP,
// it answers every question with the address and port of whoever asks, as CoreDNS's plugin `whoami` does.
package main

import (
	"log"
	"net"

	"github.com/miekg/dns"
)

func main() {
	server := dns.Server{Addr: ":53", Net: "udp", Handler: dns.HandlerFunc(whoami)}
	log.Fatal(server.ListenAndServe())
}

func whoami(writer dns.ResponseWriter, question *dns.Msg) {
	asker := writer.RemoteAddr().(*net.UDPAddr)
	answer := new(dns.Msg)
	answer.SetReply(question)
	answer.Authoritative = true
	if len(question.Question) == 1 {
		answer.Extra = told(question.Question[0].Name, asker)
	}
	if err := writer.WriteMsg(answer); err != nil {
		log.Printf("an answer to %s: %v", asker, err)
	}
}

// told is the asker's address and port, as records of the name that was asked for.
func told(name string, asker *net.UDPAddr) []dns.RR {
	port := &dns.SRV{
		Hdr:    dns.RR_Header{Name: "_udp." + name, Rrtype: dns.TypeSRV, Class: dns.ClassINET},
		Port:   uint16(asker.Port),
		Target: ".",
	}
	if address := asker.IP.To4(); address != nil {
		header := dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}
		return []dns.RR{&dns.A{Hdr: header, A: address}, port}
	}
	header := dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET}
	return []dns.RR{&dns.AAAA{Hdr: header, AAAA: asker.IP}, port}
}
