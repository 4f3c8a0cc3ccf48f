GO      ?= go
TOOL     = $(GO) tool -modfile=tools/go.mod
PACKAGES = ./...

# Modules of their own: their dependencies are large, and no part of the product. They
# are tested without the race detector. What they look at stands outside of them, where the
# cache of results does not see a change.
MODULES  = audit deploy/check tools/release

.PHONY: run dev build audit test quick flake crash bench fuzz lint licenses vulnerabilities generate release

# Everything in one process; Ctrl-C stops it. ARGS="--data-dir /tmp/x" passes flags on.
run: build
	./bin/holdmetrics serve $(ARGS)

# A tour in two minutes: a server with made events, its page, and what to try.
# ARGS="-- --data-dir x" passes flags on to serve.
dev: build
	$(GO) run ./test/dev $(ARGS)

build:
	$(GO) build -o bin/holdmetrics ./cmd/holdmetrics

# The program that keeps and checks the copy in immudb: docs/audit.md.
audit:
	cd audit && $(GO) build -o ../bin/holdmetrics-audit ./cmd/holdmetrics-audit

# The race detector needs cgo, which Go turns off if it finds no C compiler.
RACE := $(shell [ "$$($(GO) env CGO_ENABLED)" = 1 ] && echo -race)

# Without this, each process with the race detector waits for a second before it ends.
export GORACE ?= atexit_sleep_ms=10

# Packages with properties that compute only. Under the race detector, which makes them
# eight times slower, they are checked with fewer draws, and without it with all of them.
PROPERTIES = hold ingest/transfers ingest/archive projection/embedded gateway/query

# All tests, under the race detector. The product is built once for all that run it as
# a process. The tests wait more than they compute, so that more of them run at once
# than there are processors.
test:
	@[ -n "$(RACE)" ] || echo "no C compiler: testing without the race detector"
	$(GO) build $(RACE) -buildvcs=false -o bin/test/holdmetrics ./cmd/holdmetrics
	@export HOLDMETRICS_TEST_BINARY="$(CURDIR)/bin/test/holdmetrics"; code=0; \
	run() { echo "$(GO) test -timeout 10m $$*"; $(GO) test -timeout 10m "$$@" || code=1; }; \
	all=$$($(GO) list $(PACKAGES)) || exit 1; \
	pick() { echo "$$all" | grep "$$@" || true; }; \
	others=$$(pick -v '^holdmetrics/hold$$'); hold=$$(pick '^holdmetrics/hold$$'); \
	properties=$$(pick -xF "$$(printf 'holdmetrics/%s\n' $(PROPERTIES))"); \
	[ -z "$$others" ] || run $(RACE) -p 3 -parallel 4 $$others; \
	[ -z "$$hold" ] || run $(RACE) $$hold -rapid.checks=20; \
	[ -z "$(RACE)" ] || [ -z "$$properties" ] || run $$properties; \
	if [ "$(PACKAGES)" = ./... ]; then for m in $(MODULES); do ( cd $$m && run -count=1 ./... && exit $$code ) || code=1; done; fi; exit $$code

# What one runs after each change: no race detector, no database, no browser.
quick:
	MONGODB_URL= MONGOD=none $(GO) test -short -timeout 2m $(PACKAGES)

# Looks for tests that fail once in a while. ARGS="-runs 300 ./ingest ./gateway"; -h says more.
flake:
	$(GO) run ./test/flake $(ARGS)

# Processes are killed again and again, and nothing may be lost. A short run is part of test.
crash:
	$(GO) test -race -count=1 -v -timeout 2h ./test/crash -production -kills 200 -days 200 $(ARGS)
	$(GO) test -count=1 -v -timeout 1h ./test/crash -run 'TestHandover$$' -production $(ARGS)
	@case "$(ARGS)" in *TestKilled*) ;; *-run*|*-days*|*-kind*) exit 0 ;; esac; set -x; \
	cd audit && $(GO) test -count=1 -v -timeout 1h ./cmd/holdmetrics-audit -run 'TestKilled$$' -kills 200 -seed 0 $(ARGS)

# The whole path beside its ceilings, in one table. ARGS="-rows ingest,bulk -json FILE"; -h says more.
bench:
	$(GO) run ./test/bench $(ARGS)

# Every fuzz test for a while, in all for -time; inputs that break one stay in testdata/fuzz.
# ARGS="-time 10m ./ingest/..."; -h says more.
fuzz:
	$(GO) run ./test/fuzz $(ARGS)

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is wanted by:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(TOOL) staticcheck $(PACKAGES)
	$(GO) run ./test/promlint
	@for m in $(MODULES); do echo "$(GO) vet ./... # $$m"; ( cd $$m && $(GO) vet ./... ) || exit 1; done
	cd audit && $(GO) tool -modfile=../tools/go.mod staticcheck ./...
	@$(MAKE) --no-print-directory licenses vulnerabilities

# Dependencies whose licences are not compatible with Apache-2.0.
licenses:
	@if ! ( cd tools/release && $(GO) list -deps ./licenses ) >/dev/null 2>&1; then echo "licences are not checked: the module of tools/release cannot be fetched"; \
	else cd tools/release && $(GO) run ./licenses; fi

# Known vulnerabilities of what the program contains. Where their data cannot be reached
# within a minute, nothing is checked.
vulnerabilities: build
	@limit=$$(command -v timeout && echo 60); code=0; $${limit:+timeout 60} $(TOOL) govulncheck -mode=binary bin/holdmetrics || code=$$?; \
	case $$code in 0) ;; 3) exit 1 ;; *) echo "vulnerabilities are not checked: their data cannot be reached" ;; esac

generate:
	cd proto && $(GO) tool -modfile=../tools/go.mod buf generate
	$(GO) generate ./cmd/...

# Everything that a release consists of, in bin/release: programs for all systems, packages,
# bills of materials, licences, checksums. The same commit gives the same bytes.
# ARGS="-targets linux/amd64" builds for one system; -h says more.
release:
	cd tools/release && $(GO) run . $(ARGS)
