#!/bin/busybox sh
# First process of the small test guest. The kernel command line chooses what it does:
#   mimic.test=shell      an interactive shell with job control on the console (the default)
#   mimic.test=poweroff   power off
#   mimic.test=reboot     reboot
#   mimic.test=info       print what the machine looks like, then power off
#   root=DEVICE init=PATH go on into that root file system
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev

test=shell
root=
init=/sbin/init
for word in $($busybox cat /proc/cmdline); do
    case $word in
    mimic.test=*) test=${word#mimic.test=} ;;
    root=*) root=${word#root=} ;;
    init=*) init=${word#init=} ;;
    esac
done

if [ -f /modules ]; then
    while read -r module; do
        $busybox insmod "/lib/modules/$module" || echo "mimic-guest: cannot load $module"
    done </modules
fi

echo "mimic-guest: userspace reached"

if [ -n "$root" ]; then
    tries=0
    while [ ! -b "$root" ] && [ $tries -lt 100 ]; do
        $busybox sleep 0.1
        tries=$((tries + 1))
    done
    if $busybox mount -t ext4 "$root" /root; then
        $busybox umount /proc
        $busybox umount /sys
        $busybox mount -o move /dev /root/dev
        exec $busybox switch_root -c /dev/console /root "$init"
    fi
    echo "mimic-guest: cannot mount $root"
    test=poweroff
fi

case $test in
poweroff) exec $busybox poweroff -f ;;
reboot) exec $busybox reboot -f ;;
info)
    echo "mimic-guest: begin info"
    $busybox uname -srm
    $busybox cat /proc/cpuinfo /proc/interrupts /proc/iomem
    $busybox sha256sum $busybox
    echo "mimic-guest: begin log"
    $busybox dmesg -r
    echo "mimic-guest: end info"
    exec $busybox poweroff -f
    ;;
esac

$busybox --install -s /bin
export PATH=/bin HOME=/root TERM="${TERM:-vt100}" PS1='\w # '
cd /root || exit 1
echo
echo "$(uname -sr) on $(uname -m). This shell is process 1's child: 'poweroff -f' ends the machine, 'reboot -f' restarts it."
while true; do
    setsid cttyhack sh
done
