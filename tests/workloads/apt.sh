# The package manager: C++, its own database of some hundred packages, and the linker behind it.
apt-get --version
dpkg-query --show --showformat '${Package} ${Version} ${Status}\n' | sort | sha256sum
apt-cache policy python3 | head -3
apt-cache depends --recurse --installed python3 | sort -u | sha256sum
dpkg --audit; echo "audit $?"
dpkg --verify coreutils libc6 python3.11-minimal openssl; echo "verify $?"
