#!/bin/bash
# First process of the benchmark's Debian guest, whose root file system is read-only: runs the programs listed in
# /bench/rows (`NAME N` on each line), one after the other, then powers off. The markers are those of main.c; the checksum
# is that of what the program prints.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C TZ=UTC PYTHONDONTWRITEBYTECODE=1
export PYTHONHASHSEED=0
set -o pipefail
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
cd /tmp || exit
dmesg -n 1
cc1=$(echo /usr/lib/gcc/*-linux-gnu/*/cc1)

# Runs a command between markers; what it reads is in memory before.
measured() {
    local name=$1 sum
    shift
    echo "bench $name begin"
    if sum=$("$@" </dev/null | sha256sum); then
        echo "bench $name end ${sum:0:16}"
    else
        echo "bench $name failed: the command failed"
    fi
}

# The compiler (without -quiet) names each function on its standard error: every tenth name marks how far it is.
compile() {
    "$cc1" -O2 -o big.s /bench/big.c 2>&1 >/dev/null | {
        local count=0 name
        while read -r -d ' ' name; do
            ((++count % 10)) || echo "bench cc1 at $count" >/dev/console
        done
    }
    cat big.s
}

# One thread, and no time in the archive.
pack() {
    7zz a -bso0 -bsp0 -mmt=1 -mtm=off data.7z data && 7zz t -bso0 -bsp0 -mmt=1 data.7z && cat data.7z
}

while read -r name n; do
    case $name in
    python)
        python3 -c 'import collections, json, re, random, string' # its library comes into memory
        measured python python3 /bench/python.py "$n"
        ;;
    sqlite)
        sed "s/@N@/$n/" /bench/sqlite.sql >sqlite.sql
        sqlite3 :memory: 'SELECT 1' >/dev/null
        measured sqlite sqlite3 :memory: '.read sqlite.sql'
        ;;
    cc1)
        cat "$cc1" /bench/big.c >/dev/null
        measured cc1 compile
        ;;
    xz)
        head -c "${n}000" "$cc1" >data
        measured xz xz -6 -T1 -c data
        ;;
    unxz)
        head -c 1000000 "$cc1" | xz -0 >data.xz
        for ((i = 0; i < n; i++)); do cat data.xz; done >many.xz
        measured unxz xz -d -c many.xz
        ;;
    7z)
        head -c "${n}000" "$cc1" >data
        measured 7z pack
        ;;
    *) echo "bench $name failed: no such program" ;;
    esac
done </bench/rows
exec poweroff -ff
