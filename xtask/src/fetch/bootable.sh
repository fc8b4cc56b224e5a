# A disk that boots by itself: GRUB in the gap before the partition, on both consoles. The disk may have any name later: the last root= counts.
echo 'LABEL=mimic / ext4 defaults 0 1' >/etc/fstab
cat >/etc/default/grub <<'END'
GRUB_DEFAULT=0
GRUB_TIMEOUT=2
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX="root=LABEL=mimic console=tty0 console=@CONSOLE@"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_DISABLE_OS_PROBER=true
END
grub-install --target=i386-pc --boot-directory=/boot /dev/vda || finish "failed: grub-install"
update-grub || finish "failed: update-grub"

