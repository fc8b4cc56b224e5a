#!/bin/bash
# First process of the benchmark's guest for disks and networks, whose root file system is read-only: does the rows listed in
# /bench/rows (`NAME MEGABYTES` on each line), one after the other, then powers off. The markers are those of main.c; there is
# nothing to sum up. /bench/setting has the port of iperf3 on the host, and where on the disk is room to write: its offset and
# its length in bytes.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C TZ=UTC
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
cd /tmp || exit
dmesg -n 1
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
read -r port from room </bench/setting

# fio is a big program, and its start is not what is measured: it prints the first marker itself.
disk() {
    local name=$1 n=$2 mode=$3 block=$4 depth=$5
    # It sends what the command prints into a file.
    if fio --thread --name="$name" --filename=/dev/vda --offset="$from" --size="$room" --direct=1 --ioengine=libaio \
        --rw="$mode" --bs="$block" --iodepth="$depth" --io_size="${n}M" --norandommap --randseed=1 \
        --exec_prerun="echo bench $name begin | tee /dev/console" >"$name.log" 2>&1; then
        echo "bench $name end 0"
    else
        echo "bench $name failed: $(tail -n 1 "$name.log")"
    fi
}

network() {
    local name=$1 n=$2 status
    shift 2
    echo "bench $name begin"
    # A connection that stands still must not cost the rows after it.
    timeout 300 iperf3 -c 10.0.2.2 -p "$port" -n "${n}M" "$@" >"$name.log" 2>&1
    status=$?
    if [ $status = 0 ]; then
        echo "bench $name end 0"
    else
        echo "bench $name failed: status $status $(tail -n 1 "$name.log")"
    fi
}

while read -r name n; do
    case $name in
    disk-read) disk "$name" "$n" read 1M 4 ;;
    disk-write) disk "$name" "$n" write 1M 4 ;;
    disk-random-read) disk "$name" "$n" randread 4k 16 ;;
    disk-random-write) disk "$name" "$n" randwrite 4k 16 ;;
    net-send) network "$name" "$n" ;;
    net-receive) network "$name" "$n" -R ;;
    *) echo "bench $name failed: no such row" ;;
    esac
done </bench/rows
exec poweroff -ff
