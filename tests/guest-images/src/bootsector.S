/*
 * A boot sector for a PC's firmware: writes by INT 10h (and to the debug port 0xe9, for tests), reads by INT 13h from the
 * drive that it was started from, reads keys by INT 16h.
 *
 * Sector 0 is the program; sectors 1 and 2 hold texts that it reads again. On a CD-ROM, where a sector has 2048 bytes, it
 * reads the volume descriptor in sector 16 instead. Names of functions and registers: IBM BIOS Interface Technical
 * Reference; El Torito specification; Phoenix Enhanced Disk Drive specification.
 */
    .code16
    .text
    .globl _start
    .equ BUFFER, 0x8000
    .equ DEBUG_PORT, 0xe9
    .equ EXIT_PORT, 0x501

_start:
    ljmp $0, $1f                    /* firmware may start it at 07c0:0000 */
1:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    sti
    cld
    mov %dl, drive
    mov $hello, %si
    call print
    mov drive, %al
    call print_byte
    call newline

    cmpb $0xe0, drive               /* SeaBIOS numbers CD-ROM drives from 0xe0 on */
    jb 2f
    movl $16, packet_lba
    call read_extended
    mov $BUFFER + 1, %si
    movb $0, BUFFER + 6             /* behind "CD001" */
    call print
    call newline
    jmp keys

2:  mov $0x0201, %ax                /* read one sector: cylinder 0, head 0, sector 2 */
    mov $0x0002, %cx
    mov drive, %dl
    xor %dh, %dh
    mov $BUFFER, %bx
    int $0x13
    jc failed
    mov $BUFFER, %si
    call print
    cmpb $0x80, drive
    jb keys
    movl $2, packet_lba
    call read_extended
    mov $BUFFER, %si
    call print

keys:
    mov $ready, %si
    call print
3:  xor %ah, %ah
    int $0x16
    push %ax
    mov %ah, %al
    call print_byte
    mov $' ', %al
    call put
    pop %ax
    cmp $'q', %al
    je quit
    cmp $'r', %al
    je reset
    cmp $'t', %al
    je triple
    jmp 3b

quit:
    mov $EXIT_PORT, %dx
    mov $0x10, %al
    out %al, %dx
    hlt
reset:
    mov $0xcf9, %dx
    mov $0x02, %al
    out %al, %dx
    mov $0x06, %al
    out %al, %dx
    hlt
triple:
    lidt no_idt
    int $3

failed:
    mov $bad, %si
    call print
    mov %ah, %al
    call print_byte
    jmp keys

read_extended:
    mov $0x42, %ah
    mov drive, %dl
    mov $packet, %si
    int $0x13
    jc failed
    ret

/* AL in hexadecimal. */
print_byte:
    push %ax
    shr $4, %al
    call 4f
    pop %ax
4:  and $15, %al
    cmp $10, %al
    sbb $0x69, %al
    das
    jmp put

newline:
    mov $13, %al
    call put
    mov $10, %al
    jmp put

5:  call put
/* The text at SI up to a zero. */
print:
    lodsb
    test %al, %al
    jnz 5b
    ret

/* The character AL. */
put:
    push %ax
    push %bx
    out %al, $DEBUG_PORT
    mov $0x0e, %ah
    mov $7, %bx
    int $0x10
    pop %bx
    pop %ax
    ret

hello:  .asciz "mimic: boot sector, drive "
ready:  .asciz "keys: "
bad:    .asciz "cannot read: "
no_idt: .word 0
        .long 0
    .balign 4
packet: .byte 16, 0
        .word 1
        .word BUFFER, 0
packet_lba: .long 0, 0
drive:  .byte 0

    .org 510
    .word 0xaa55
    .asciz "sector one\r\n"
    .org 1024
    .asciz "sector two\r\n"
    .org 1536
