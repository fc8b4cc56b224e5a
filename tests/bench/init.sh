#!/bin/busybox sh
# First process of the benchmark's small guest: runs the workloads listed in /bench/rows (`NAME N` on each line), one after
# the other, then restarts. What it prints marks the times: see main.c.
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
echo "bench ready"

# Messages of the kernel would break the lines that are looked for.
$busybox dmesg -n 1
if $busybox grep -q '^disk ' /bench/rows; then
    while read -r module; do
        $busybox insmod "/lib/modules/$module"
    done </modules
    tries=0
    while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do
        $busybox sleep 0.1
        tries=$((tries + 1))
    done
fi

while read -r name n; do
    /bench/bench "$name" "$n" </dev/null || echo "bench $name failed: status $?"
done </bench/rows
# With -no-reboot that ends the machine; not every machine can switch itself off.
exec $busybox reboot -f
