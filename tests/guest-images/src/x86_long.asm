; What PAE paging and long mode do: page faults, gates, returns, system calls, segment loads, addresses that are not canonical,
; instructions and values that 64-bit mode refuses, 5-level paging. A 64-KiB ROM image that is entered at the reset vector, prints
; to port 0xe9 and ends with a write to port 0xf4. It wants NX, SMEP, SMAP, FSGSBASE, UMIP, PCID, LA57, AVX and pages of 1 GiB. Each check is a
; piece of code that an exception or INT 0x30 ends; what the handler finds is printed. README.md beside the directory above says more.
        bits 16
        org 0xf0000

GDT     equ 0x1000
IDT     equ 0x2000
TSS     equ 0x3000
LDT     equ 0x3600
VARS    equ 0x4000
next    equ VARS                ; where the program goes on after a check
start   equ VARS + 8            ; what RIP is printed relative to
terse   equ VARS + 16           ; print vectors and error codes alone
i       equ VARS + 20           ; counters of loops
j       equ VARS + 24
k       equ VARS + 28
l       equ VARS + 32
uflags  equ VARS + 40           ; RFLAGS at level 3
root    equ VARS + 48           ; CR3 and CR4 of checks
cr4base equ VARS + 56
STACK0  equ 0x6000              ; of checks at level 0
MAIN    equ 0x7000
INNER   equ 0x8000              ; of the task state
IST1    equ 0x9000
USER    equ 0xa000
DATA    equ 0xb000
DIR     equ 0x10000             ; tables, from the root on: those of the first 2 MiB
DIR_PDPT equ 0x11000
DIR_PD  equ 0x12000
DIR_PT  equ 0x13000
PDPT    equ 0x14000             ; those of the page under test
PD      equ 0x15000
PT      equ 0x16000
PML5    equ 0x17000
PAE_DIR equ 0x18000             ; of 32-bit PAE paging, which shares PD and PT
OTHER   equ 0x19000             ; the root of a second address space, then its tables of the page under test
OTHER_PDPT equ 0x1a000
OTHER_PD equ 0x1b000
OTHER_PT equ 0x1c000
PAGE    equ 0x20000             ; what the page under test leads to
VA      equ 0x7f8040400000      ; the page under test: entries 255, 1, 2, 0
VA32    equ 0x40400000          ; the same outside of long mode: entries 1, 2, 0
HOLE    equ 0x800000000000      ; not canonical

CODE0   equ 0x08
DATA0   equ 0x10
CODE3   equ 0x1b
DATA3   equ 0x23
LCODE3  equ 0x2b                ; 64-bit code
LCODE0  equ 0x30
DATA0_  equ 0x38                ; the stack of SYSCALL
SEL_TSS equ 0x40
SEL_LDT equ 0x50
SCRATCH equ 0x60
GATE    equ 0x70
CODE16  equ 0x80
ABSENT  equ 0x88
READONLY equ 0x90
CONFORM equ 0x98
SEL_TSS32 equ 0xa0
BOTH    equ 0xa8                ; code with both L and D
LOW     equ 0xb0                ; data with a base and a small limit
EXECUTE equ 0xb8                ; code that cannot be read
LCODE0_ABSENT equ 0xc0
DATA3_ABSENT equ 0xc8
DATA3RO equ 0xd0
LAST    equ 0xd8                ; the last eight bytes of the table

enter16:
        cli
        cld
        mov al, 0xff                                    ; no interrupts
        out 0x21, al
        out 0xa1, al
        o32 lgdt [cs:gdtr - 0xf0000]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword CODE0:enter32
gdtr:   dw gdt_end - gdt - 1
        dd gdt

        bits 32
        align 8
gdt:    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
        dq 0x00affb000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff
        dq 0x0000890030000087, 0
        dq 0x000082003600001f, 0
        dq 0, 0
        dq 0x000fec0000300000 + lgate_target - 0xf0000, 0
        dq 0x00009b0f0000ffff                           ; base 0xf0000
        dq 0x00cf13000000ffff, 0x00cf91000000ffff
        dq 0x00af9f000000ffff
        dq 0x0000890030000087
        dq 0x00ef9b000000ffff
        dq 0x0040f300b0000fff                           ; base DATA, limit 0xfff
        dq 0x00aff9000000ffff
        dq 0x00af1b000000ffff, 0x00cf73000000ffff, 0x00cff1000000ffff
        dq 0x0000890030000087
gdt_end:

enter32:
        mov ax, DATA0
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, MAIN
        cld
        mov edi, VARS
        xor eax, eax
        mov ecx, 64
        rep stosd
        mov dword [uflags], 2
        mov edi, DIR
        mov ecx, 16 * 1024
        rep stosd
        mov edi, DIR_PT
        mov eax, 7
.page:  stosd
        mov dword [edi], 0
        add edi, 4
        add eax, 0x1000
        cmp eax, 0x200000
        jb .page
        jmp pae_checks

; Everything of 32-bit protected mode as it was before the first check.
setup:
        cld
        push dword 2
        popfd
        mov eax, 0x11
        mov cr0, eax
        xor eax, eax
        mov cr4, eax
        mov cr2, eax
        mov ecx, 0xc0000080
        xor edx, edx
        wrmsr
        mov esi, gdt
        mov edi, GDT
        mov ecx, (gdt_end - gdt) / 4
        rep movsd
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
        mov byte [IDT + 0x30 * 8 + 5], 0xee
        lgdt [real_gdtr]
        lidt [.idtr]
        mov edi, TSS
        mov ecx, 0x88 / 4
        xor eax, eax
        rep stosd
        mov dword [TSS + 4], INNER
        mov dword [TSS + 8], DATA0
        mov word [TSS + 0x66], 0x68
        mov dword [PAE_DIR], DIR_PD | 1
        mov dword [PAE_DIR + 8], PD | 1
        mov dword [PAE_DIR + 16], 0
        mov dword [PAE_DIR + 20], 0
        mov dword [DIR_PD], DIR_PT | 7
        mov edi, PD
        mov ecx, 2 * 1024
        rep stosd
        mov dword [PD + 16], PT | 7
        mov dword [PAGE], 0x909030cd                    ; INT 0x30
        mov eax, PAE_DIR
        mov cr3, eax
        xor eax, eax
        lldt ax
        mov fs, ax
        mov gs, ax
        mov ax, SEL_TSS32
        ltr ax
        mov ax, DATA0
        mov ds, ax
        mov es, ax
        mov ss, ax
        xor ebx, ebx
        xor ecx, ecx
        xor edx, edx
        xor ebp, ebp
        xor esi, esi
        xor edi, edi
        ret
.idtr:  dw 0x40 * 8 - 1
        dd IDT
real_gdtr: dw gdt_end - gdt - 1
        dq GDT

gate_target16:
gate_target:
        int 0x30

%include "x86_protected.asm"

pae_checks:
%include "x86_long_pae.asm"

; To long mode: 4-level tables, whose root is DIR; at the end once more with 5 levels.
        call setup
        mov dword [root], DIR
        mov dword [cr4base], 0x20
        jmp enter_long
enter_la57:
        mov dword [PML5], DIR | 7
        mov dword [root], PML5
        mov dword [cr4base], 0x1020
enter_long:
        mov dword [DIR], DIR_PDPT | 7
        mov dword [DIR_PDPT], DIR_PD | 7
        mov dword [DIR_PD], DIR_PT | 7
        mov eax, [cr4base]
        mov cr4, eax
        mov eax, [root]
        mov cr3, eax
        mov ecx, 0xc0000080
        rdmsr
        or ah, 1
        wrmsr
        mov eax, 0x80000011
        mov cr0, eax
        jmp LCODE0:enter64

        bits 64
enter64:
        mov esp, MAIN
        mov dword [terse], 0
        cmp dword [root], PML5
        jne checks
        jmp la57_checks

%macro WRMSR 2                                          ; number, value
        mov ecx, %1
        mov rax, %2
        mov rdx, rax
        shr rdx, 32
        wrmsr
%endmacro
%macro RDMSR 1                                          ; number, to RAX
        mov ecx, %1
        rdmsr
        shl rdx, 32
        or rax, rdx
%endmacro
MSR_EFER equ 0xc0000080
MSR_STAR equ 0xc0000081
MSR_LSTAR equ 0xc0000082
MSR_FMASK equ 0xc0000084
MSR_FS  equ 0xc0000100
MSR_GS  equ 0xc0000101
MSR_KERNEL_GS equ 0xc0000102

; Everything of long mode as it was before the first check.
lsetup:
        cld
        push 2
        popfq
        mov eax, [cr4base]
        mov cr4, rax
        mov eax, 0x80000011
        mov cr0, rax
        WRMSR MSR_EFER, 0xd01
        xor eax, eax
        mov cr2, rax
        mov eax, 0x400
        mov dr7, rax
        mov eax, 0xffff0ff0
        mov dr6, rax
        mov esi, gdt
        mov edi, GDT
        mov ecx, (gdt_end - gdt) / 8
        rep movsq
        mov edi, LDT
        mov ecx, 4
        xor eax, eax
        rep stosq
        mov rax, 0x00cff3000000ffff
        mov [LDT + 8], rax
        ; Gates to the stubs; 3, 4 and 0x30 to 0x32 for level 3.
        mov edi, IDT
        xor ecx, ecx
.gate:  mov eax, ecx
        shl eax, 4
        add eax, lstubs
        movzx edx, ax
        or edx, LCODE0 << 16
        mov [rdi], edx
        mov ax, 0x8e00
        mov [rdi + 4], eax
        mov qword [rdi + 8], 0
        add edi, 16
        inc ecx
        cmp ecx, 0x40
        jb .gate
        mov byte [IDT + 3 * 16 + 5], 0xee
        mov byte [IDT + 4 * 16 + 5], 0xee
        mov byte [IDT + 0x30 * 16 + 5], 0xee
        mov byte [IDT + 0x31 * 16 + 5], 0xef            ; a trap gate
        mov word [IDT + 0x32 * 16 + 4], 0xee01          ; on a stack of its own
        mov byte [IDT + 0x33 * 16 + 5], 0x6e            ; not present
        mov word [IDT + 0x34 * 16 + 2], 0
        mov word [IDT + 0x35 * 16 + 2], DATA0
        mov word [IDT + 0x36 * 16 + 2], LCODE0_ABSENT
        mov word [IDT + 0x37 * 16 + 2], CODE0
        mov word [IDT + 0x38 * 16 + 2], BOTH
        mov byte [IDT + 0x39 * 16 + 5], 0x85            ; a task gate
        mov byte [IDT + 0x3a * 16 + 5], 0x86            ; an interrupt gate of 16 bits
        mov byte [IDT + 0x3b * 16 + 5], 0x8c            ; a call gate
        mov word [IDT + 0x3c * 16 + 2], 0x7f8           ; beyond the table
        mov word [IDT + 0x3d * 16 + 2], LCODE3
        mov word [IDT + 0x3e * 16 + 2], CONFORM
        mov byte [IDT + 0x3e * 16 + 5], 0xee
        mov dword [IDT + 0x3f * 16 + 8], 0x8000         ; not canonical
        mov edi, TSS
        mov ecx, 0x88 / 8
        xor eax, eax
        rep stosq
        mov dword [TSS + 4], INNER - 8
        mov dword [TSS + 36], IST1 - 8
        mov word [TSS + 0x66], 0x68
        mov byte [TSS + 0x87], 0xff
        mov byte [TSS + 0x68 + (0x80 >> 3)], 2          ; port 0x81 is not allowed
        ; The first 2 MiB, then one page, which is missing.
        mov qword [DIR + 255 * 8], PDPT | 7
        mov qword [DIR_PD], DIR_PT | 7
        mov edi, PDPT
        mov ecx, 3 * 512
        rep stosq
        mov dword [PDPT + 8], PD | 7
        mov dword [PD + 16], PT | 7
        mov dword [PAGE], 0x909030cd                    ; INT 0x30
        mov eax, [root]
        mov cr3, rax
        lgdt [real_gdtr]
        lidt [.idtr]
        xor eax, eax
        lldt ax
        mov fs, eax
        mov gs, eax
        mov ax, SEL_TSS
        ltr ax
        mov eax, DATA0
        mov ds, eax
        mov es, eax
        mov ss, eax
        WRMSR MSR_GS, 0
        WRMSR MSR_KERNEL_GS, 0
        WRMSR MSR_FS, 0
        xor eax, eax
        xor ebx, ebx
        xor ecx, ecx
        xor edx, edx
        xor ebp, ebp
        xor esi, esi
        xor edi, edi
        ret
.idtr:  dw 0x40 * 16 - 1
        dq IDT

lputc:
        out 0xe9, al
        ret
lputs:                                                  ; at RSI
        push rax
.next:  mov al, [rsi]
        inc rsi
        test al, al
        jz .end
        call lputc
        jmp .next
.end:   pop rax
        ret
; Prints the last CL hexadecimal digits of RDX.
lputhex:
        push rcx
        push rdx
        push rax
        mov ch, cl
        neg cl
        add cl, 16
        shl cl, 2
        shl rdx, cl
.digit: rol rdx, 4
        mov al, dl
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe .put
        add al, 'a' - '9' - 1
.put:   call lputc
        dec ch
        jnz .digit
        pop rax
        pop rdx
        pop rcx
        ret
%macro LSAY 1
        push rsi
        mov esi, %%text
        call lputs
        pop rsi
        jmp %%over
%%text: db %1, 0
%%over:
%endmacro
%macro LHEX 2
        push rdx
        push rcx
        mov rdx, %1
        mov cl, %2
        call lputhex
        pop rcx
        pop rdx
%endmacro

; Stubs of 16 bytes: an error code if the processor pushes none, the vector.
        align 16
lstubs:
%assign n 0
%rep 0x40
 %if n != 8 && (n < 10 || n > 14) && n != 17
        push byte 0
 %endif
        push byte n
        jmp near lhandler
        align 16
%assign n n + 1
%endrep

; Offsets in what the handler has pushed.
L_GS    equ 0
L_FS    equ 8
L_ES    equ 16
L_DS    equ 24
L_NOW   equ 32
L_RAX   equ 88
L_VEC   equ 96
L_ERR   equ 104
L_RIP   equ 112
L_CS    equ 120
L_FL    equ 128
L_RSP   equ 136
L_SS    equ 144

lhandler:
        push rax
        push rcx
        push rdx
        push rbx
        push rbp
        push rsi
        push rdi
        pushfq
        mov eax, ds
        push rax
        mov eax, es
        push rax
        mov eax, fs
        push rax
        mov eax, gs
        push rax
        cld
        mov rbp, rsp
        cmp dword [terse], 0
        jne lbrief
        LSAY " v="
        LHEX [rbp + L_VEC], 2
        LSAY " e="
        LHEX [rbp + L_ERR], 4
        LSAY " ip="
        mov rax, [rbp + L_RIP]
        sub rax, [start]
        mov rcx, rax
        sar rcx, 16
        lea rdx, [rcx + 1]
        cmp rdx, 1
        ja .raw
        LHEX rax, 4
        jmp .cs
.raw:   LHEX [rbp + L_RIP], 16
.cs:    LSAY " cs="
        LHEX [rbp + L_CS], 4
        LSAY " fl="
        mov rax, [rbp + L_FL]
        and eax, 0x267700                               ; without RF, which QEMU does not set
        LHEX rax, 6
        LSAY " sp="
        mov cl, 6
        mov rdx, [rbp + L_RSP]
        mov rax, rdx
        shr rax, 24
        jz .sp
        mov cl, 16
.sp:    call lputhex
        LSAY " ss="
        LHEX [rbp + L_SS], 4
        LSAY " top="
        lea rax, [rbp + L_SS + 8]
        LHEX rax, 4
        mov eax, ss
        LSAY ":"
        LHEX rax, 4
        LSAY " now="
        mov rax, [rbp + L_NOW]
        and eax, 0x267700
        LHEX rax, 6
        LSAY " a="
        LHEX [rbp + L_RAX], 16
        LSAY " ds="
        LHEX [rbp + L_DS], 4
        LHEX [rbp + L_ES], 4
        LHEX [rbp + L_FS], 4
        LHEX [rbp + L_GS], 4
        cmp dword [rbp + L_VEC], 14
        jne .end
        LSAY " cr2="
        mov rax, cr2
        LHEX rax, 16
.end:   mov al, 10
        call lputc
lfinish:
        mov esp, MAIN
        mov eax, [next]
        jmp rax

; Vector and error code alone.
lbrief:
        mov al, ' '
        call lputc
        mov rax, [rbp + L_VEC]
        cmp eax, 0x30
        je .ok
        cmp eax, 14
        jne .other
        LHEX [rbp + L_ERR], 2
        jmp lfinish
.other: LHEX rax, 2
        mov al, ':'
        call lputc
        LHEX [rbp + L_ERR], 3
        jmp lfinish
.ok:    LSAY "--"
        jmp lfinish

; A check of 64-bit code at level 0, up to LEND.
%macro BEGIN 1
 %push check
        call lsetup
        mov dword [next], %$end
        mov dword [start], %$code
        mov esi, %$name
        call lputs
        xor esi, esi
        mov edi, %$code
%endmacro
%macro L0 1
        BEGIN %1
        mov esp, STACK0
        jmp rdi
%$name: db %1, 0
%$code:
%endmacro
; At level 3.
%macro L3 1
        BEGIN %1
        jmp lto_user
%$name: db %1, 0
%$code:
%endmacro
; 32-bit code in compatibility mode, at level 0 and 3.
%macro C0 1
        BEGIN %1
        mov eax, CODE0
        jmp lto_inner
%$name: db %1, 0
        bits 32
%$code:
%endmacro
%macro C3 1
        BEGIN %1
        jmp lto_compatible
%$name: db %1, 0
        bits 32
%$code:
%endmacro
; Ends a check that has returned or jumped: what follows is reached by nothing but that.
%macro LEND 0
        int 0x30
        bits 64
%$end:
 %pop
%endmacro

; What IRET takes: SS, RSP, RFLAGS, CS and RIP.
%macro FRAME 5
        push %1
        push %2
        push %3
        push %4
        push %5
%endmacro
%macro USER_WITH 1                                      ; flags; what follows is of level 3
        FRAME DATA3, USER, %1, LCODE3, %%user
        iretq
%%user:
%endmacro

lto_inner:
        push DATA0
        push STACK0
        push 2
        push rax
        push rdi
        xor eax, eax
        xor edi, edi
        iretq
lto_compatible:
        mov eax, CODE3
        jmp lto_level3
lto_user:
        mov eax, LCODE3
lto_level3:
        mov ecx, DATA3
        mov ds, ecx
        mov es, ecx
        push DATA3
        push USER
        push qword [uflags]
        push rax
        push rdi
        xor eax, eax
        xor ecx, ecx
        xor edi, edi
        iretq

lgate_target:
        int 0x30

checks:
%include "x86_long_checks.asm"
; Out of long mode, and back with 5 levels.
        call lsetup
        push CODE0
        push .leave
        retfq
        bits 32
.leave: mov eax, 0x11
        mov cr0, eax
        jmp enter_la57

        bits 64
la57_checks:
%include "x86_long_la57.asm"
        LSAY "end"
        mov al, 10
        call lputc
        mov al, 0
        out 0xf4, al
        cli
.halt:  hlt
        jmp .halt

        times 0xfff0 - ($ - $$) db 0xff
        bits 16
        jmp 0xf000:enter16 - 0xf0000
        times 0x10000 - ($ - $$) db 0
