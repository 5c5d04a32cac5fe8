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
# images on a disk of their own: overlays work on it whatever the checkout is on, nothing waits for a write to be safe,
# and removing 50,000 files is removing one
truncate -s 64G containerd.img
mkfs.ext4 -q -F -O ^has_journal -E nodiscard containerd.img
mkdir containerd
mount -o loop,noatime,barrier=0 containerd.img containerd
hostname node
touch mounted
while :; do
  wait
  sleep 1
done
