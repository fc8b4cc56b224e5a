; What protected mode does: gates, segment loads, task switches, page faults, virtual-8086 mode. A 64-KiB ROM image that is
; entered at the reset vector, prints to port 0xe9 and ends with a write to port 0xf4. Each check is a piece of code that an
; exception or INT 0x30 ends; what the handler finds is printed. README.md beside the directory above says more.
        bits 16
        org 0xf0000

GDT     equ 0x1000
IDT     equ 0x2000
TSS0    equ 0x3000
TSS1    equ 0x3200
TSS2    equ 0x3400              ; 16 bits
LDT     equ 0x3600
TSS3    equ 0x3800              ; of invalid task states
TSS4    equ 0x3900              ; of other exceptions in tasks
VARS    equ 0x4000
next    equ VARS                ; where the program goes on after a check
start   equ VARS + 4            ; what EIP is printed relative to
terse   equ VARS + 8            ; print vectors and error codes alone
i       equ VARS + 12           ; counters of loops
j       equ VARS + 16
k       equ VARS + 20
l       equ VARS + 24
uflags  equ VARS + 28           ; EFLAGS at level 3
STACK0  equ 0x6000              ; of checks at level 0
MAIN    equ 0x7000
INNER   equ 0x8000              ; of the task state
USER    equ 0xa000
TASK    equ 0xb000
DIR     equ 0x10000
PT0     equ 0x11000
PT1     equ 0x12000
PAGE    equ 0x20000             ; what the page under test leads to
VA      equ 0x400000

CODE0   equ 0x08
DATA0   equ 0x10
CODE3   equ 0x1b
DATA3   equ 0x23
SEL_TSS equ 0x28
SEL_TSS1 equ 0x30
SEL_TSS2 equ 0x38
SEL_LDT equ 0x40
SCRATCH equ 0x48
CONFORM equ 0x50
CODE16  equ 0x58
GATE32  equ 0x60
GATE16  equ 0x68
TASKGATE equ 0x70
ABSENT  equ 0x78
READONLY equ 0x80
DATA3RO equ 0x88
LOW     equ 0x90                ; data with a small limit
DOWN    equ 0x98                ; expand-down data
STACK16 equ 0xa0
SEL_TSS3 equ 0xa8
SEL_TSS4 equ 0xb0

enter16:
        cli
        cld
        o32 lgdt [cs:gdtr - 0xf0000]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword CODE0:enter32
gdtr:   dw 0x3f
        dd gdt

        bits 32
        align 8
gdt:    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
        dq 0x00008900300000e7, 0x0000890032000067, 0x000081003400002b, 0x000082003600001f, 0
        dq 0x00cf9f000000ffff
        dq 0x00009b0f0000ffff                           ; base 0xf0000
        dq 0x000fec0200080000 + gate_target - 0xf0000
        dq 0x0000e40200580000 + gate_target16 - 0xf0000
        dq 0x0000e50000300000
        dq 0x00cf13000000ffff, 0x00cf91000000ffff, 0x00cff1000000ffff
        dq 0x00409300f0000fff                           ; base 0xf000, limit 0xfff
        dq 0x004097000000dfff                           ; above 0xdfff
        dq 0x000093000000ffff, 0x0000890038000067, 0x0000890039000067
gdt_end:

enter32:
        mov ax, DATA0
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, MAIN
        mov dword [uflags], 2
        mov dword [terse], 0
        cld
        mov edi, DIR
        xor eax, eax
        mov ecx, 3 * 1024
        rep stosd
        mov edi, PT0
        mov eax, 7
.page:  stosd
        add eax, 0x1000
        cmp eax, 0x400000
        jb .page
        jmp checks

; Everything as it was before the first check.
setup:
        cld
        push dword 2
        popfd
        mov esi, gdt
        mov edi, GDT
        mov ecx, (gdt_end - gdt) / 4
        rep movsd
        mov edi, LDT
        mov ecx, 8
        xor eax, eax
        rep stosd
        mov dword [LDT + 8], 0x0000ffff
        mov dword [LDT + 12], 0x00cf9300
        ; Gates to the stubs; 0x30 to 0x32 for level 3.
        mov edi, IDT
        xor ecx, ecx
.gate:  mov eax, ecx
        shl eax, 4
        add eax, stubs
        movzx edx, ax
        or edx, CODE0 << 16
        mov [edi], edx
        mov ax, 0x8e00
        mov [edi + 4], eax
        add edi, 8
        inc ecx
        cmp ecx, 0x40
        jb .gate
        mov byte [IDT + 3 * 8 + 5], 0xee
        mov byte [IDT + 4 * 8 + 5], 0xee
        mov byte [IDT + 0x30 * 8 + 5], 0xee
        mov byte [IDT + 0x31 * 8 + 5], 0xef             ; a trap gate
        mov byte [IDT + 0x32 * 8 + 5], 0xe6             ; 16 bits
        mov dword [IDT + 0x32 * 8], (CODE16 << 16) + stub16 - 0xf0000
        mov word [IDT + 0x32 * 8 + 6], 0
        mov byte [IDT + 0x33 * 8 + 5], 0x6e             ; not present
        mov word [IDT + 0x34 * 8 + 2], 0
        mov word [IDT + 0x35 * 8 + 2], DATA0
        mov word [IDT + 0x36 * 8 + 2], ABSENT
        mov word [IDT + 0x37 * 8 + 2], CONFORM
        mov byte [IDT + 0x37 * 8 + 5], 0xee
        mov word [IDT + 0x38 * 8 + 2], CODE3
        mov dword [IDT + 0x39 * 8], SEL_TSS1 << 16
        mov dword [IDT + 0x39 * 8 + 4], 0xe500          ; a task gate
        mov byte [IDT + 0x3b * 8 + 5], 0xec             ; a call gate
        mov word [IDT + 0x3c * 8 + 2], 0x7f8            ; beyond the table
        lgdt [real_gdtr]
        lidt [real_idtr]
        ; Task states.
        mov edi, TSS0
        mov ecx, 0x600 / 4
        xor eax, eax
        rep stosd
        mov dword [TSS0 + 4], INNER
        mov dword [TSS0 + 8], DATA0
        mov word [TSS0 + 0x66], 0x68
        mov byte [TSS0 + 0xe7], 0xff
        mov byte [TSS0 + 0x68 + (0x80 >> 3)], 0x02      ; port 0x81 is not allowed
        mov esi, task1
        mov edi, TSS1
        mov ecx, 0x68 / 4
        rep movsd
        mov esi, task2
        mov edi, TSS2
        mov ecx, 0x2c / 4
        rep movsd
        mov esi, task1
        mov edi, TSS3
        mov ecx, 0x68 / 4
        rep movsd
        mov dword [TSS3 + 32], task_invalid
        mov dword [TSS3 + 56], 0xc000
        mov esi, task1
        mov edi, TSS4
        mov ecx, 0x68 / 4
        rep movsd
        mov dword [TSS4 + 32], task_other
        mov dword [TSS4 + 56], 0xd000
        mov eax, 0x11
        mov cr0, eax
        xor eax, eax
        mov cr4, eax
        mov cr2, eax
        mov eax, 0x400
        mov dr7, eax
        mov eax, 0xffff0ff0
        mov dr6, eax
        xor eax, eax
        ; The first 4 MiB as they are, then one page, which is missing.
        mov dword [DIR], PT0 | 7
        mov dword [DIR + 4], PT1 | 7
        mov edi, PT1
        xor eax, eax
        mov ecx, 8
        rep stosd
        mov dword [PAGE], 0x909030cd                    ; INT 0x30
        mov eax, DIR
        mov cr3, eax
        xor eax, eax
        lldt ax
        mov fs, ax
        mov gs, ax
        mov ax, SEL_TSS
        ltr ax
        mov ax, DATA0
        mov ds, ax
        mov es, ax
        xor ebx, ebx
        xor ecx, ecx
        xor edx, edx
        xor ebp, ebp
        xor esi, esi
        xor edi, edi
        ret

real_gdtr: dw gdt_end - gdt - 1
        dd GDT
real_idtr: dw 0x40 * 8 - 1
        dd IDT

task1:  dd 0, INNER, DATA0, 0, 0, 0, 0, DIR, task_code, 2, 0x11111111, 0, 0, 0, TASK, 0, 0, 0
        dd DATA0, CODE0, DATA0, DATA0, 0, 0, 0
        dw 0, 0x68
task2:  dw 0, INNER, DATA0, 0, 0, 0, 0, task_code16 - 0xf0000, 2, 0x2222, 0, 0, 0, TASK, 0, 0, 0, DATA0, CODE16, STACK16, DATA0, 0

; What tasks execute: INT 0x30, and after an IRET again.
task_code:
        int 0x30
        jmp task_code
        bits 16
task_code16:
        movzx eax, ax                                   ; upper halves are undefined
        movzx esp, sp
        int 0x30
        jmp task_code16
gate_target16:
        int 0x30
        bits 32
gate_target:
        int 0x30

%include "x86_protected.asm"

; A check in virtual-8086 mode with this IOPL.
%macro TV 2
 %push check
        call setup
        mov dword [next], %$end
        mov esi, %$name
        call puts
        push dword 0x4444
        push dword 0x3333
        push dword 0x2222
        push dword 0x1111
        push dword 0x0a00
        push dword 0x0100
        push dword 0x20002 + (%2 << 12)
        push dword 0xf000
        push dword %$code - 0xf0000
        xor eax, eax
        xor esi, esi
        iretd
%$name: db %1, 0
        bits 16
%$code:
%endmacro

checks:
%include "x86_system_checks.asm"
        SAY "end"
        mov al, 10
        call putc
        mov al, 0
        out 0xf4, al
        cli
.halt:  hlt
        jmp .halt

        times 0xfff0 - ($ - $$) db 0xff
        bits 16
        jmp 0xf000:enter16 - 0xf0000
        times 0x10000 - ($ - $$) db 0
