// What benchmarks ask: a server that costs little itself. `origin PORT` answers HTTP/1.1, HTTP/2
// without TLS and gRPC on the same port: GET / with its NAME and a few bytes more, POST / with what is sent and
// gRPC's trailers, GET /stream with a line every 100 ms for as long as somebody listens.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

var answer = []byte("{\"name\": \"" + os.Getenv("NAME") + "\", \"and\": \"as many bytes as a small answer may well have\"}\n")

func get(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Origin-Port", os.Args[1])
	w.Header().Set("Content-Type", "application/json")
	w.Write(answer)
}

func call(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	w.Header().Set("Trailer", "Grpc-Status")
	io.Copy(w, r.Body)
	w.Header().Set("Grpc-Status", "0")
}

func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		if _, err := io.WriteString(w, "data: on\n\n"); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", get)
	mux.HandleFunc("POST /", call)
	mux.HandleFunc("GET /stream", stream)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Addr: ":" + os.Args[1], Handler: mux, Protocols: protocols}
	log.Fatal(server.ListenAndServe())
}
