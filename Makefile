# Wadi needs Linux, Go and GNU make. `make` lists the targets.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: tools
tools: ## find or build Nomad, Consul, Envoy, the CNI plugins and Schemathesis (first time: 10-20 min)
	@echo "== tools: finding or building Nomad, Consul, Envoy, the CNI plugins and Schemathesis"
	$(GO) run ./tools/ensure

.PHONY: build
build: ## bin/wadi, bin/queue-proxy, the example app bin/hello and the apps of the tests
	@echo "== build: $(VERSION) into bin/"
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/wadi ./cmd/queue-proxy ./jobspecs/examples/hello ./test/apps/corners ./test/apps/grpcecho ./test/apps/ledger

.PHONY: check
check: static units ## static checks and unit tests with the race detector

.PHONY: static
static: ## static checks
	@echo "== check: gofmt"
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not formatted:"; echo "$$files"; exit 1; fi
	@echo "== check: go vet"
	$(GO) vet ./...
	$(GO) vet -tags e2e ./...
	@echo "== check: the commands off Linux"
	GOOS=darwin $(GO) build -o /dev/null ./cmd/wadi
	@echo "== check: staticcheck"
	$(GO) tool staticcheck -tags e2e ./...
	@echo "== check: errcheck"
	$(GO) tool errcheck -ignoretests -exclude tools/errcheck.txt ./...
	@echo "== check: go mod tidy"
	$(GO) mod tidy -diff

.PHONY: units
units: ## unit tests with the race detector, and the arrows between packages
	@echo "== check: unit tests"
# On several processors the race detector sometimes crashes on fake timers
# (golang/go#78156). The end-to-end run repeats these tests on all processors, without it:
# that is the only run in which they are really concurrent.
	$(GO) test -race -cpu 1 ./...
	@echo "== check: the simulation"
	$(GO) test -count=1 -run '^TestSimulation$$' ./agent -simulate 10000
	@echo "== check: the arrows between packages"
	$(GO) test -count=1 .

# Each of these end-to-end folders has the machine for itself: they measure, send much, or have
# short deadlines broken on purpose. All others run several at a time, as they mostly wait: those
# that take longest first, and the unit tests, which keep a processor busy, at the end. A new
# folder is one of the others.
ALONE   = /test/(attacks|dataplane|faults|scaling|smuggling|traffic)$$
LONGEST = /test/(mesh|docker|e2e|rights)$$
# These have been run by hand only so far: make e2e-cluster.
BY_HAND = /test/(matrix|nodes|rolling)$$
AT_ONCE ?= 2

.PHONY: e2e
e2e: tools build ## end-to-end tests on the real stack; AT_ONCE=1 one folder at a time
	@echo "== e2e: $(AT_ONCE) folders at a time"
	@all=$$($(GO) list -tags e2e ./...) || exit 1; \
	all=$$(echo "$$all" | grep -vE '$(BY_HAND)'); others=$$(echo "$$all" | grep -vE '$(ALONE)'); \
	long=$$(echo "$$others" | grep -E '$(LONGEST)'); short=$$(echo "$$others" | grep -vE '$(LONGEST)'); \
	$(GO) test -tags e2e -count=1 -timeout 60m -p $(AT_ONCE) $$long $$(echo "$$short" | grep /test/) $$(echo "$$short" | grep -v /test/); failed=$$?; \
	echo "== e2e: one folder at a time"; \
	$(GO) test -tags e2e -count=1 -timeout 60m -p 1 $$(echo "$$all" | grep -E '$(ALONE)') && exit $$failed

.PHONY: e2e-cluster
e2e-cluster: tools build ## the fault matrix in its short form, several nodes, the upgrade of agents: not part of make test yet
	@echo "== e2e-cluster: one folder at a time"
	@$(GO) test -tags e2e -count=1 -timeout 60m -p 1 $$($(GO) list -tags e2e ./test/... | grep -E '$(BY_HAND)')

# The static checks run beside all others, and get what those leave of the processors.
.PHONY: test
test: ## all that CI runs: check and e2e
	@log=$$(mktemp); nice -n 19 $(MAKE) --no-print-directory static >"$$log" 2>&1 & static=$$!; \
	trap 'kill $$static 2>/dev/null; rm -f "$$log"' EXIT; \
	$(MAKE) --no-print-directory units && $(MAKE) --no-print-directory e2e; failed=$$?; \
	wait $$static || failed=1; \
	cat "$$log"; exit $$failed

.PHONY: dev
dev: tools build ## a cluster and Wadi in the foreground, with the example service; Ctrl-C ends it
	@echo "== dev: starting"
	@exec bin/wadi agent -dev -apply jobspecs/examples/hello.hcl

.PHONY: demo
demo: tools build ## the whole story without user input, as a timeline
	@echo "== demo: the whole story"
	$(GO) run ./test/demo

.PHONY: soak
soak: tools build ## mixed services under load for an hour (SOAK_FOR=10m): nothing grows, no request fails
	@echo "== soak: $(or $(SOAK_FOR),1h)"
	$(GO) run ./test/soak -for $(or $(SOAK_FOR),1h)

.PHONY: chaos
chaos: tools build ## random faults for an hour (CHAOS_FOR=10m, CHAOS_SEED=N): what Wadi promises holds
	@echo "== chaos: $(or $(CHAOS_FOR),1h)"
	$(GO) run -tags e2e ./test/chaos -for $(or $(CHAOS_FOR),1h) -seed $(or $(CHAOS_SEED),0)

.PHONY: bench
bench: tools build ## benchmarks on the real stack
	@echo "== bench: benchmarks"
	$(GO) run ./bench

.PHONY: dist
dist: ## the archives of a release and their checksums into dist/; PLATFORMS=linux/amd64 for one
	@echo "== dist: $(VERSION) into dist/"
	$(GO) run ./tools/dist -version "$(VERSION:v%=%)" -epoch "$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}" $(if $(PLATFORMS),-platforms "$(PLATFORMS)")

IMAGES = $(GO) run ./tools/images -version "$(subst +,-,$(VERSION:v%=%))" -revision "$$(git diff --quiet HEAD 2>/dev/null && git rev-parse HEAD)" \
	-epoch "$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}"

.PHONY: images
images: ## the container images of a release into dist/; PUSH=REGISTRY/PREFIX pushes them
	@echo "== images: $(VERSION) into dist/"
	$(IMAGES) $(if $(PLATFORMS),-platforms "$(PLATFORMS)") $(if $(TAGS),-tags "$(TAGS)") $(if $(PUSH),-push "$(PUSH)")

.PHONY: dev-images
dev-images: ## wadi/queue-proxy:0.1, and localhost/wadi/hello:0.1 for hello-docker.hcl, into the engine of this machine (DOCKER_HOST)
	@echo "== dev-images: into the engine that docker talks to"
	$(IMAGES) -images queue-proxy -platforms "linux/$$($(GO) env GOARCH)" -tags 0.1 -out dist/dev -load
# The name of the app is that of no registry, so that none is asked for it.
	$(IMAGES) -images hello -prefix localhost/wadi -platforms "linux/$$($(GO) env GOARCH)" -tags 0.1 -out dist/dev -load

.PHONY: clean
clean: ## remove bin/ and dist/; the cache of the tools stays
	@echo "== clean: removing bin/ and dist/"
	rm -rf bin dist
