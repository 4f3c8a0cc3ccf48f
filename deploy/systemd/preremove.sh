#!/bin/sh
# Runs before the package is removed. Upgrades restart the units, and do not come here.
set -e
case "$1" in
upgrade | 1) exit 0 ;; # of deb, and of rpm
esac
if [ -d /run/systemd/system ]; then
	systemctl disable --now holdmetrics.service holdmetrics-gateway.service holdmetrics-worker.service
fi
