package main

import (
	"context"
	"log"
	"log/slog"

	"github.com/dunglas/mercure"
)

const topic = "bench"

// newMercure makes a hub that keeps nothing, open to all: publishing goes through no HTTP.
func newMercure() hub {
	one, err := mercure.NewHub(
		context.Background(),
		mercure.WithAnonymous(),
		mercure.WithLogger(slog.New(slog.DiscardHandler)),
		mercure.WithTransport(mercure.NewLocalTransport(mercure.NewSubscriberList(mercure.DefaultSubscriberListCacheSize))),
	)
	if err != nil {
		log.Fatal(err)
	}
	publish := func(text string) error {
		update := &mercure.Update{Topics: []string{topic}, Event: mercure.Event{Type: "update", Data: text}}
		return one.Publish(context.Background(), update)
	}
	return hub{one.SubscribeHandler, publish}
}
