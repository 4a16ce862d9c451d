package main

import (
	"context"

	"github.com/wadi-run/wadi/api"
)

func serviceInspectCommand() command {
	return remoteCommand(command{
		usage: "wadi service inspect [options] NAME", synopsis: "Print all that is stored about a service as JSON",
		help: "Every setting is shown with its value, defaults too.", min: 1, max: 1,
	},
		func(ctx context.Context, client *api.Client, c *call) (api.Service, error) {
			return client.Service(ctx, c.args[0])
		}, nil)
}
