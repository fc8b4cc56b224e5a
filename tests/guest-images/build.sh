#!/bin/sh
# Builds every guest image from src/ into this directory. Needs aarch64-linux-gnu-gcc (Debian: gcc-aarch64-linux-gnu) and nasm.
set -eu
cd "$(dirname "$0")"
cross=${CROSS_COMPILE:-aarch64-linux-gnu-}
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
# -mgeneral-regs-only: floating point may be disabled. -mstrict-align: with the MMU off all memory is Device memory.
cflags="-Os -std=gnu11 -Wall -Wextra -Werror -ffreestanding -fpie -mgeneral-regs-only -mstrict-align -mno-outline-atomics
    -fno-stack-protector -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -ffunction-sections -fdata-sections -march=armv8-a"

compile() {
    ${cross}gcc $cflags -c -o "$objects/$1.o" "src/$1"
    # An image runs where the loader puts it and has no relocations of its own.
    if ${cross}objdump -r "$objects/$1.o" | grep -v ' image_size$' | grep -q 'R_AARCH64_ABS\|_GOT_'; then
        echo "$1: not position-independent" >&2
        exit 1
    fi
}

for common in start.S lib.c mmu.c; do compile $common; done
for name in demo hello reset timer_loop wfi selfmod faults manyblocks smp; do
    compile $name.c
    parts="$objects/start.S.o $objects/$name.c.o $objects/lib.c.o $objects/mmu.c.o"
    if [ -e src/${name}_code.S ]; then
        compile ${name}_code.S
        parts="$parts $objects/${name}_code.S.o"
    fi
    ${cross}ld --gc-sections --build-id=none --fatal-warnings --no-warn-rwx-segments -z max-page-size=4096 -T src/image.ld -o "$objects/$name.elf" $parts
    ${cross}objcopy -O binary "$objects/$name.elf" "$name.bin"
    chmod 644 "$name.bin"
done
# -w-number-overflow: addresses of 16-bit code are cut.
nasm -w-number-overflow -f bin -Isrc/ -o x86_system.bin src/x86_system.asm
nasm -w-number-overflow -f bin -Isrc/ -o x86_long.bin src/x86_long.asm
nasm -f bin -DMULTIBOOT -o multiboot.bin src/loaded.asm
nasm -f bin -o pvh.bin src/loaded.asm
ls -l ./*.bin

# Programs for PCs: flat 16-bit code. Needs x86_64-linux-gnu-as or an x86 host's as (Debian: binutils).
pc=${CROSS_COMPILE_X86:-x86_64-linux-gnu-}
for name in bootsector; do
    ${pc}as --32 -o "$objects/$name.o" "src/$name.S"
    ${pc}ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$name.bin" "$objects/$name.o"
    chmod 644 "$name.bin"
done
