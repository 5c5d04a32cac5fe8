#!/bin/bash
# PID 1 of the node: gives it directories of its own, then reaps. Everything mounted here ends with it.
set -eu
# before /run is covered: the run directory may be below it
cd "$1"
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns /run/testbed
# a short path: a unix socket's name has 108 characters at most
mount --bind . /run/testbed
cd /run/testbed
for directory in /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers; do
  mkdir -p "$directory" ".$directory"
  mount --bind ".$directory" "$directory"
done
mount --make-rshared /var/lib/kubelet
hostname node
touch mounted
while :; do
  wait
  sleep 1
done
