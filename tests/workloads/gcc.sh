# The compiler itself (what it writes is compared byte by byte) and what it compiled.
case $(gcc -print-multiarch) in
aarch64-*) march=armv8-a+crc+crypto ;;
*) if grep -qw avx2 /proc/cpuinfo; then march=x86-64-v3; else march=x86-64; fi ;;
esac
for level in -O0 -O1 -O2 -O3 -Os "-O3 -march=$march" "-O2 -ffast-math -ftree-vectorize"; do
    # shellcheck disable=SC2086 # Words are meant to split.
    gcc $level -std=gnu11 -Wall -Werror -S -o program.s "$HERE/program.c" && gcc -o program program.s -lm -lpthread
    echo "gcc $level: status $?, $(sha256sum < program.s | cut -c1-32)"
    ./program > "out.$level"
    echo "program: status $?, $(sha256sum < "out.$level" | cut -c1-32)"
done
cat out.-O2
for level in -O0 -O1 -O3 -Os; do
    cmp out.-O2 "out.$level" && echo "$level prints what -O2 prints"
done
