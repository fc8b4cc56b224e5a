#!/bin/sh
# First process on the first boot of a new root file system: configures all packages, then powers off.
# Runs inside the emulator, because the packages' own scripts are programs of the guest.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C LANG=C HOME=/root

# switch_root left an empty /proc and /sys.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -o remount,rw /

finish() {
    echo "mimic-firstboot: $1"
    # Ends what package scripts may have left running; spares the first process.
    kill -9 -1
    sleep 1
    # This process still holds files that upgrades have replaced, so the disk cannot become read-only; all of it is
    # written here, and the check of the finished image replays the journal.
    sync
    # The second stage has unmounted /proc on its way out.
    mount -t proc proc /proc
    # 'o': power off now. The kernel does so from a work item, so stay until then.
    echo o >/proc/sysrq-trigger
    while true; do sleep 1; done
}

mkdir -p /etc/dpkg/dpkg.cfg.d
# A crash during installation throws the image away: no need to flush each file.
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/mimic-firstboot

/debootstrap/debootstrap --second-stage || {
    tail -n 30 /debootstrap/debootstrap.log
    finish "failed"
}

rm -f /etc/dpkg/dpkg.cfg.d/mimic-firstboot

echo debian >/etc/hostname
printf '127.0.0.1 localhost debian\n::1 localhost\n' >/etc/hosts
echo '/dev/vda / ext4 defaults 0 1' >/etc/fstab
passwd -d root
for kernel in /lib/modules/*; do
    depmod "${kernel##*/}"
done

# root logs in on the first serial port without a password.
mkdir -p /etc/systemd/system/serial-getty@@CONSOLE@.service.d
cat >/etc/systemd/system/serial-getty@@CONSOLE@.service.d/autologin.conf <<'END'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM
END
systemctl enable serial-getty@@CONSOLE@.service
@BOOTABLE@
# Nothing in the background: two runs of the same test must see the same machine.
systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer \
    systemd-timesyncd.service
apt-get clean
rm -f /mimic-firstboot
finish "done"
