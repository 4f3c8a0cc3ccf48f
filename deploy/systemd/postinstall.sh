#!/bin/sh
# Runs after the package was installed or upgraded. It starts nothing.
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers holdmetrics.conf
fi
if command -v systemd-tmpfiles >/dev/null 2>&1; then
	systemd-tmpfiles --create holdmetrics.conf
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# Units that run get the new program; those that do not stay as they are.
	systemctl try-restart holdmetrics.service holdmetrics-gateway.service holdmetrics-worker.service
fi
