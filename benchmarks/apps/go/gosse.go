package main

import "github.com/tmaxmax/go-sse"

// newGoSSE makes a server with the library's own provider.
func newGoSSE() hub {
	server := &sse.Server{}
	publish := func(text string) error {
		message := &sse.Message{Type: sse.Type("update")}
		message.AppendData(text)
		return server.Publish(message)
	}
	return hub{server.ServeHTTP, publish}
}
