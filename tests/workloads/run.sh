#!/bin/sh
# Runs workloads inside a guest: run.sh NAME...
# Each is NAME.sh beside this file. Its standard output is its result and must not hold times, addresses or process
# numbers; lines that begin with `#` are for people and are not compared.
here=$(dirname "$(readlink -f "$0")")
export LC_ALL=C TZ=UTC HERE="$here"
dmesg --console-off 2>/dev/null
stty -echo 2>/dev/null
for name in "$@"; do
    HOME=$(mktemp -d)
    export HOME
    cd "$HOME" || exit 1
    echo "workload $name: begin"
    start=$(cut -d' ' -f1 /proc/uptime)
    # The status of the script, not of sed.
    { sh "$here/$name.sh" 2>&1; echo "status $?"; } | sed "s/^/workload $name| /"
    end=$(cut -d' ' -f1 /proc/uptime)
    echo "workload $name: end after $(echo "$end - $start" | bc) s"
    cd / && rm -rf "$HOME"
done
echo "workloads: finished"
