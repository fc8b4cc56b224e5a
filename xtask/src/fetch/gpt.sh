# A disk with a GPT: UEFI starts GRUB from the path of removable media, a BIOS from its own partition. The disk may have any name later:
# the last root= counts.
printf 'LABEL=mimic / ext4 defaults 0 1\nLABEL=EFI /boot/efi vfat umask=0077 0 2\n' >/etc/fstab
cat >/etc/default/grub <<'END'
GRUB_DEFAULT=0
GRUB_TIMEOUT=2
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX="root=LABEL=mimic console=tty0 console=@CONSOLE@"
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
END
# UEFI's console is on the serial port already.
cat >/etc/grub.d/01_serial <<'END'
#!/bin/sh
cat <<'CONFIG'
if [ "$grub_platform" = pc ]; then
    serial --unit=0 --speed=115200
    terminal_input console serial
    terminal_output console serial
fi
CONFIG
END
chmod 755 /etc/grub.d/01_serial
mkdir -p /boot/efi /boot/grub
if [ -b /dev/vda14 ]; then
    grub-install --target=i386-pc --boot-directory=/boot /dev/vda || finish "failed: grub-install"
fi
# mtools instead of a mount: the kernel of this boot need not know the file system.
cat >/tmp/grub.cfg <<'END'
search.fs_label mimic root
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
END
mkfs.vfat -F 32 -n EFI /dev/vda15 &&
    mmd -i /dev/vda15 ::EFI ::EFI/BOOT ::EFI/debian &&
    mcopy -i /dev/vda15 /usr/lib/grub/@EFI_TARGET@-signed/grub@EFI_FILE@.efi.signed ::EFI/BOOT/BOOT@EFI@.EFI &&
    mcopy -i /dev/vda15 /tmp/grub.cfg ::EFI/debian/grub.cfg ||
    finish "failed: EFI system partition"
rm /tmp/grub.cfg
update-grub || finish "failed: update-grub"

# Any network card asks for an address; nothing waits for it.
cat >/etc/systemd/network/80-dhcp.network <<'END'
[Match]
Name=en* eth*

[Network]
DHCP=yes
END
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
systemctl enable systemd-networkd.service systemd-resolved.service ssh.service || finish "failed: network"
systemctl disable systemd-networkd-wait-online.service

