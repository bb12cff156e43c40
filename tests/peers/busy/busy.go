// As busy.c, in Go: a server and its client. busy FOLDER
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

func main() {
	folder := os.Args[1]
	pair, err := tls.LoadX509KeyPair(folder+"/server.crt", folder+"/server.key")
	check(err)
	pem, err := os.ReadFile(folder + "/ca.pem")
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	door, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	check(err)
	go func() {
		end, err := door.Accept()
		check(err)
		io.Copy(end, end)
	}()
	end, err := tls.Dial("tcp", door.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
	check(err)
	fmt.Println("busy")
	var last atomic.Bool
	go func() {
		io.ReadAll(os.Stdin)
		last.Store(true)
	}()
	number := 0
	for ; !last.Load(); number++ {
		sent := bytes.Repeat([]byte{byte(number % 251)}, 1+number*37%4096)
		_, err := end.Write(sent)
		check(err)
		got := make([]byte, len(sent))
		_, err = io.ReadFull(end, got)
		check(err)
		if !bytes.Equal(sent, got) {
			os.Exit(4)
		}
	}
	fmt.Println(number, "messages")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
