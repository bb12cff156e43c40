// Go's own HTTP client: every size, both ways, one after the other and several at once.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func main() {
	url := os.Getenv("STANDIN_URL")
	pem, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	sizes := []int{0, 1, 1000, 16384, 70000, 1 << 20}
	for _, n := range sizes {
		body := make([]byte, n)
		for at := range body {
			body[at] = byte(at * 31)
		}
		answer, err := client.Post(fmt.Sprintf("%s/echo?n=%d&chunked=1", url, n), "application/octet-stream", bytes.NewReader(body))
		check(err)
		drain(answer)
	}
	var group sync.WaitGroup
	for _, n := range sizes {
		group.Go(func() {
			answer, err := client.Get(fmt.Sprintf("%s/echo?n=%d", url, n))
			check(err)
			drain(answer)
		})
	}
	group.Wait()
}

func drain(answer *http.Response) {
	_, err := io.Copy(io.Discard, answer.Body)
	check(err)
	check(answer.Body.Close())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
