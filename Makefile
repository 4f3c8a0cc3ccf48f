GO      ?= go
TOOL     = $(GO) tool -modfile=tools/go.mod
PACKAGES = ./...

.PHONY: run build test quick flake crash bench lint generate

# Everything in one process; Ctrl-C stops it. ARGS="--data-dir /tmp/x" passes flags on.
run: build
	./bin/holdmetrics serve $(ARGS)

build:
	$(GO) build -o bin/holdmetrics ./cmd/holdmetrics

# The race detector needs cgo, which Go turns off where it finds no C compiler.
test:
	@if [ "$$($(GO) env CGO_ENABLED)" = 1 ]; then set -- -race; \
	else echo "no C compiler: testing without the race detector"; set --; fi; \
	echo $(GO) test -timeout 10m "$$@" $(PACKAGES); $(GO) test -timeout 10m "$$@" $(PACKAGES)

# What one runs after each change: no race detector, no database, no browser.
quick:
	MONGODB_URL= MONGOD=none $(GO) test -short -timeout 2m $(PACKAGES)

# Looks for tests that fail once in a while. ARGS="-runs 300 ./ingest ./gateway"; -h says more.
flake:
	$(GO) run ./test/flake $(ARGS)

# Processes are killed again and again, and nothing may be lost. A short run is part of test.
crash:
	$(GO) test -race -count=1 -v -timeout 2h ./test/crash -production -kills 200 $(ARGS)
	$(GO) test -count=1 -v -timeout 1h ./test/crash -run 'TestHandover$$' -production $(ARGS)

# The whole path beside its ceilings, in one table. ARGS="-rows ingest,bulk -json FILE"; -h says more.
bench:
	$(GO) run ./test/bench $(ARGS)

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is wanted by:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(TOOL) staticcheck $(PACKAGES)

generate:
	cd proto && $(GO) tool -modfile=../tools/go.mod buf generate
