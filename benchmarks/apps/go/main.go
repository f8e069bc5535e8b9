// Hubs written in Go, each as its documentation embeds it: server HUB PORT. It answers what the Python apps answer: GET
// /events, and the harness's /status, /paced and /burst.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A hub is the handler of the streams, and what publishes the JSON text of an event to all of them.
type hub struct {
	stream  http.HandlerFunc
	publish func(text string) error
}

var hubs = map[string]func() hub{"mercure": newMercure, "go-sse": newGoSSE}

type event struct {
	Seq    int     `json:"seq"`
	Time   int64   `json:"ts"`
	Action string  `json:"action,omitempty"`
	Price  float64 `json:"price,omitempty"`
	Item   string  `json:"item,omitempty"`
	By     string  `json:"by,omitempty"`
	Text   string  `json:"text,omitempty"`
}

type control struct {
	hub
	seq     int
	clients atomic.Int64
}

// next is the JSON text of the next event: the usual item, or size characters of text.
func (c *control) next(at time.Time, size int) string {
	one := event{Seq: c.seq, Time: at.UnixNano()}
	c.seq++
	if size > 0 {
		one.Text = strings.Repeat("x", size)
	} else {
		one.Action, one.Price, one.Item, one.By = "created", 1249.25, "espresso machine 2", "anna.meyer"
	}
	text, err := json.Marshal(one)
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}

func (c *control) send(text string) {
	if err := c.publish(text); err != nil {
		log.Fatal(err)
	}
}

func (c *control) events(w http.ResponseWriter, r *http.Request) {
	c.clients.Add(1)
	defer c.clients.Add(-1)
	c.stream(w, r)
}

func (c *control) status(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, `{"pid": %d, "clients": %d}`, os.Getpid(), c.clients.Load())
}

func (c *control) paced(w http.ResponseWriter, r *http.Request) {
	events, rate, size := number(r, "events"), number(r, "rate"), number(r, "size")
	start := time.Now()
	for index := range events {
		time.Sleep(time.Until(start.Add(time.Second * time.Duration(index) / time.Duration(rate))))
		c.send(c.next(time.Now(), size))
	}
	fmt.Fprint(w, "{}")
}

func (c *control) burst(w http.ResponseWriter, r *http.Request) {
	events, yields := number(r, "events"), number(r, "yields") > 0
	start := time.Now()
	for range events {
		c.send(c.next(start, 0))
		if yields {
			runtime.Gosched()
		}
	}
	fmt.Fprint(w, "{}")
}

func number(r *http.Request, name string) int {
	value, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return value
}

func main() {
	runtime.GOMAXPROCS(1)
	c := &control{hub: hubs[os.Args[1]](), seq: 100_000}
	http.HandleFunc("GET /events", c.events)
	http.HandleFunc("GET /status", c.status)
	http.HandleFunc("POST /paced", c.paced)
	http.HandleFunc("POST /burst", c.burst)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[2], nil))
}
