# Large files through the disk and through compression and back.
openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv 00000000000000000000000000000000 -in /dev/zero 2>/dev/null |
    head -c 134217728 > /var/tmp/large
sync
echo 3 > /proc/sys/vm/drop_caches
sha256sum < /var/tmp/large
sha512sum < /var/tmp/large
b2sum < /var/tmp/large
md5sum < /var/tmp/large
cksum < /var/tmp/large
cp /var/tmp/large /var/tmp/copy
sync
echo 3 > /proc/sys/vm/drop_caches
cmp /var/tmp/large /var/tmp/copy && echo "the copy is the same"
rm /var/tmp/large /var/tmp/copy
find /usr/lib/python3.11 -name '*.py' | sort | xargs cat | head -c 8000000 > text
for packer in "gzip -6n" "bzip2 -9" "xz -2" "zstd -9"; do
    $packer < text > packed
    echo "$packer $(sha256sum < packed | cut -c1-32) $(${packer%% *} -dc < packed | sha256sum | cut -c1-32)"
done
sha256sum < text
sort text | uniq -c | sort -rn | sha256sum
awk '{ for (i = 1; i <= NF; i++) words[$i]++ } END { for (word in words) print words[word], word }' text | sort | sha256sum
find /usr/bin "/usr/lib/$(gcc -print-multiarch)" -type f | sort | xargs sha256sum | sha256sum
echo 'scale=600; 4*a(1); e(1); l(7); s(2)' | bc -l
