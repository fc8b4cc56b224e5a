#!/bin/sh
# Runs in a guest as root: torture of several processors for about SECONDS seconds. `sh run.sh SECONDS`. Each test prints a line
# that begins with `smp ok` or `smp FAIL`; the last line is `smp: finished`, with the number of failures.
cd "$(dirname "$0")" || exit 1
seconds=${1:-120}
cpus=$(nproc)
failures=0
start=$(date +%s)

report() {
    if [ "$1" = 0 ]; then
        echo "smp ok $2 after $(($(date +%s) - start)) s"
    else
        failures=$((failures + 1))
        echo "smp FAIL $2"
    fi
}

# Takes every processor but the first away and brings it back, while something runs on all of them.
hotplug() {
    ./torture locks 3 >hotplug.log &
    bad=0
    for cpu in $(seq 1 $((cpus - 1))); do
        online=/sys/devices/system/cpu/cpu$cpu/online
        echo 0 >"$online" || bad=1
        [ "$(nproc)" = $((cpus - 1)) ] || bad=1
        echo 1 >"$online" || bad=1
        [ "$(nproc)" = "$cpus" ] || bad=1
        taskset -c "$cpu" true || bad=1
    done
    wait $! || bad=1
    return $bad
}

# A program of many files, compiled on all processors at once; it says what it was made of.
compile() {
    rm -rf compile && mkdir compile && cd compile || return 1
    count=12
    {
        echo "objects = \$(patsubst %,part%.o,$(seq -s ' ' $count))"
        printf 'all: $(objects)\n\tgcc -o all $(objects)\n'
        printf 'part%%.o: ../torture.c\n\tgcc -O2 -pthread -Dmain=main_$* -DPART=$* -c -o $@ part$*.c\n'
    } >Makefile
    for i in $(seq $count); do
        printf '#include "../torture.c"\nint part_%d(void) { return %d; }\n' "$i" "$i"
        [ "$i" = $count ] && {
            echo '#undef main'
            for j in $(seq $count); do echo "int part_$j(void);"; done
            echo 'int main(void) { int sum = 0;'
            for j in $(seq $count); do echo "sum += part_$j();"; done
            printf '%s\n' 'printf("%d\n", sum); return 0; }'
        }
        :
    done | awk '/^#include/ { n++ } { print > ("part" n ".c") }'
    make -j4 >make.log 2>&1
    sum=$(./all)
    cd ..
    [ "$sum" = $((count * (count + 1) / 2)) ]
}

stress() {
    stress-ng --"$1" 4 --verify --timeout "$2" --metrics-brief >"stress-$1.log" 2>&1
    status=$?
    # 0 is success; 3 and 4 mean that there was not enough of something, or that it is not implemented here.
    [ $status = 0 ] || { tail -5 "stress-$1.log"; return 1; }
}

gcc -O2 -pthread -o torture torture.c || echo "smp FAIL torture.c does not compile"
echo "smp: $cpus processors"
[ "$cpus" = 4 ]
report $? "four processors"
# Each round takes about 20 parts of time.
part=$((seconds / 22))
[ $part -gt 30 ] && part=30
[ $part -lt 1 ] && part=1
while :; do
    for test in $(./torture); do
        ./torture "$test" $part
        report $? "$test"
    done
    for class in futex atomic lockbus mmap fork; do
        stress $class $part
        report $? "stress-ng $class"
    done
    hotplug
    report $? hotplug
    compile
    report $? "make -j4"
    [ $(($(date +%s) - start)) -lt "$seconds" ] || break
done
dmesg | grep -E 'BUG|WARNING|Oops|stall|soft lockup|hung task' && {
    echo "smp FAIL the kernel complains"
    failures=$((failures + 1))
}
echo "smp: finished, $failures failures"
