// Looks names up as any Go program does, by Go's own resolver: built without cgo, there is no other.
//
//	lookup host:web srv:_http._tcp.web txt:… mx:… cname:… addr:10.96.0.10
//
// One line for each: what was asked, and what was found, or why nothing was.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

func main() {
	for _, asked := range os.Args[1:] {
		kind, name, _ := strings.Cut(asked, ":")
		found, err := look(kind, name)
		if err != nil {
			found = []string{reason(err)}
		}
		fmt.Println(asked, strings.Join(found, " "))
	}
}

func look(kind, name string) ([]string, error) {
	switch kind {
	case "host":
		return net.LookupHost(name)
	case "addr":
		return net.LookupAddr(name)
	case "txt":
		return net.LookupTXT(name)
	case "cname":
		found, err := net.LookupCNAME(name)
		return []string{found}, err
	case "mx":
		found, err := net.LookupMX(name)
		return texts(found, func(mx *net.MX) string { return fmt.Sprint(mx.Pref, ",", mx.Host) }), err
	case "srv":
		_, found, err := net.LookupSRV("", "", name)
		return texts(found, func(srv *net.SRV) string {
			return fmt.Sprint(srv.Priority, ",", srv.Weight, ",", srv.Port, ",", srv.Target)
		}), err
	}
	return nil, errors.New("no such kind of lookup")
}

func texts[T any](found []T, text func(T) string) []string {
	told := []string{}
	for _, each := range found {
		told = append(told, text(each))
	}
	return told
}

func reason(err error) string {
	var failure *net.DNSError
	if errors.As(err, &failure) {
		return fmt.Sprintf("not-found=%t timeout=%t", failure.IsNotFound, failure.IsTimeout)
	}
	return err.Error()
}
